//! CRC-64 of ISO 3309, by which tar-split names the content of a file: polynomial 0xD800000000000000 bit by bit from the
//! lowest, all ones at the start and inverted at the end.

/// The polynomial, its lowest power in the highest bit.
const POLY: u64 = 0xd800_0000_0000_0000;

/// The effect of a byte on the checksum, with 0 to 7 bytes after it.
static TABLES: [[u64; 256]; 8] = tables();

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "while compiling: whatever is wrong ends the build"
)]
const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (if crc & 1 == 1 { POLY } else { 0 });
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// The checksum of some bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Crc64(u64);

impl Crc64 {
    /// That of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut crc = Self::default();
        crc.update(bytes);
        crc
    }

    /// Adds bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let [t0, t1, t2, t3, t4, t5, t6, t7] = &TABLES;
        let look = |table: &[u64; 256], byte: u8| table.get(usize::from(byte)).copied().unwrap_or(0);
        let (eights, rest) = bytes.as_chunks::<8>();
        let mut crc = !self.0;
        for eight in eights {
            let [a, b, c, d, e, f, g, h] = (crc ^ u64::from_le_bytes(*eight)).to_le_bytes();
            let (first, second) = (look(t7, a) ^ look(t6, b) ^ look(t5, c) ^ look(t4, d), look(t3, e) ^ look(t2, f));
            crc = first ^ second ^ look(t1, g) ^ look(t0, h);
        }
        for byte in rest {
            let [low, ..] = crc.to_le_bytes();
            crc = (crc >> 8) ^ look(t0, low ^ byte);
        }
        self.0 = !crc;
    }

    /// Adds `len` bytes of which only the checksum is known.
    pub(crate) fn append(&mut self, next: Self, len: u64) {
        self.0 = times_x_to(self.0, len) ^ next.0;
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

/// A polynomial times x to the power of 8 `bytes`, modulo the one of the checksum.
fn times_x_to(mut polynomial: u64, mut bytes: u64) -> u64 {
    // x^8; squared with each bit of the exponent.
    let mut power = 1 << 55;
    while bytes > 0 {
        if bytes & 1 == 1 {
            polynomial = times(polynomial, power);
        }
        power = times(power, power);
        bytes >>= 1;
    }
    polynomial
}

/// The product of two polynomials, each with its lowest power in the highest bit.
const fn times(a: u64, mut b: u64) -> u64 {
    let (mut a, mut product) = (a, 0);
    while a != 0 {
        if a >> 63 == 1 {
            product ^= b;
        }
        a <<= 1;
        b = (b >> 1) ^ (if b & 1 == 1 { POLY } else { 0 });
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // The check value of CRC-64/GO-ISO in the catalogue of parametrised CRCs.
        assert_eq!(Crc64::of(b"123456789").get(), 0xb909_56c7_75a4_1001);
        assert_eq!(Crc64::of(b"").get(), 0);
    }

    #[test]
    fn parts_make_up_the_whole() {
        let bytes: Vec<u8> = (0..5000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let whole = Crc64::of(&bytes);
        for at in [0, 1, 7, 8, 9, 511, 512, 4095, 4999, 5000] {
            let (front, back) = bytes.split_at(at);
            let mut joined = Crc64::of(front);
            joined.append(Crc64::of(back), back.len() as u64);
            assert_eq!(joined, whole, "{at}");
            let mut updated = Crc64::of(front);
            updated.update(back);
            assert_eq!(updated, whole, "{at}");
        }
    }
}
