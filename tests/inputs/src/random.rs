//! A small generator of numbers and bytes that is the same everywhere and for ever (SplitMix64).

/// Numbers from a seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence that belongs to `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`; 0 if that is 0.
    pub const fn below(&mut self, limit: u64) -> u64 {
        if limit == 0 { 0 } else { self.next() % limit }
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    /// Fills `buf` with bytes no compressor can shrink.
    pub fn fill(&mut self, buf: &mut [u8]) {
        for piece in buf.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            piece.copy_from_slice(&bytes[..piece.len()]);
        }
    }

    /// So many bytes that look like text.
    #[must_use]
    pub fn text(&mut self, len: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(len + 16);
        while text.len() < len {
            text.extend_from_slice(self.pick(WORDS).as_bytes());
            text.push(if self.below(11) == 0 { b'\n' } else { b' ' });
        }
        text.truncate(len);
        text
    }

    /// So many bytes, runs of text and of noise.
    #[must_use]
    pub fn mixed(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let run = (1 + self.below(32 << 10) as usize).min(len - bytes.len());
            if self.below(2) == 0 {
                let at = bytes.len();
                bytes.resize(at + run, 0);
                self.fill(&mut bytes[at..]);
            } else {
                bytes.extend(self.text(run));
            }
        }
        bytes
    }
}

const WORDS: &[&str] = &[
    "the",
    "layer",
    "of",
    "container",
    "file",
    "offset",
    "table",
    "contents",
    "digest",
    "chunk",
    "verified",
    "and",
    "read",
    "lazily",
    "from",
    "a",
    "registry",
    "while",
    "process",
    "starts",
    "return",
    "static",
    "const",
    "struct",
    "0x1f8b",
    "usr/share/doc",
    "lib",
    "(c)",
    "2024",
    "--option",
    "=",
    "{",
    "}",
    "README",
    "copyright",
    "licence",
];
