//! HTML, with foreign text escaped by construction: markup is part of the program, everything else is text.

use std::fmt::{self, Display, Write as _};

use super::words::shown;

/// A document, or a part of one.
#[derive(Debug, Default)]
pub(super) struct Html {
    text: String,
    /// Put before every id, so that parts of one document do not share them.
    pub(super) prefix: String,
}

impl Html {
    pub(super) fn into_string(self) -> String {
        self.text
    }

    /// An id that no other part of the document has.
    pub(super) fn id(&self, id: impl Display) -> String {
        format!("{}{id}", self.prefix)
    }

    /// Markup, unescaped.
    pub(super) fn markup(&mut self, markup: &'static str) -> &mut Self {
        self.text.push_str(markup);
        self
    }

    /// Anything, escaped.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        // Writing into a string does not fail.
        let _ = write!(Escaped(&mut self.text), "{text}");
        self
    }

    /// A start tag.
    pub(super) fn open(&mut self, tag: &'static str, attributes: &[(&'static str, &dyn Display)]) -> &mut Self {
        self.text.push('<');
        self.text.push_str(tag);
        for (name, value) in attributes {
            self.text.push(' ');
            self.text.push_str(name);
            self.text.push_str("=\"");
            self.text(value);
            self.text.push('"');
        }
        self.text.push('>');
        self
    }

    /// An end tag.
    pub(super) fn close(&mut self, tag: &'static str) -> &mut Self {
        self.text.push_str("</");
        self.text.push_str(tag);
        self.text.push('>');
        self
    }

    /// An element with nothing but text in it.
    pub(super) fn element(
        &mut self,
        tag: &'static str,
        attributes: &[(&'static str, &dyn Display)],
        text: impl Display,
    ) -> &mut Self {
        self.open(tag, attributes).text(text).close(tag)
    }

    /// A path, which may be broken after each slash.
    pub(super) fn path(&mut self, path: &[u8]) -> &mut Self {
        self.breaking(&shown(path))
    }

    /// Text that may be broken after each slash.
    pub(super) fn breaking(&mut self, text: &str) -> &mut Self {
        for part in text.split_inclusive('/') {
            self.text(part);
            if part.ends_with('/') {
                self.markup("<wbr>");
            }
        }
        self
    }
}

/// Replaces the characters that mean something in HTML. Nothing else does.
struct Escaped<'s>(&'s mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // No document may contain these, not even escaped.
                '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        for (text, wanted) in [
            ("plain ü", "plain ü"),
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\" onload='x' &amp;", "&quot; onload=&#39;x&#39; &amp;amp;"),
            ("a\0b\u{1b}[31m\u{85}\n", "a\u{fffd}b\u{fffd}[31m\u{fffd}\n"),
        ] {
            let mut html = Html::default();
            html.element("p", &[("title", &text)], text);
            assert_eq!(html.into_string(), format!("<p title=\"{wanted}\">{wanted}</p>"));
        }
    }

    #[test]
    fn paths_may_break_after_slashes_only() {
        let mut html = Html::default();
        html.path(b"a/<b>/c\xff\n");
        assert_eq!(html.into_string(), "a/<wbr>&lt;b&gt;/<wbr>c\\xff\\n");
    }
}
