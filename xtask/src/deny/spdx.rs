//! Licence expressions as crates write them: `MIT OR Apache-2.0`, `(A OR B) AND C`, `A WITH EXCEPTION`, and the old `A/B`.

/// The identifiers of `allowed` that satisfy `expression`; `None` if they do not.
///
/// Of alternatives the first that is satisfied counts.
pub(super) fn satisfied(expression: &str, allowed: &[String]) -> Result<Option<Vec<String>>, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = Words { words: spaced.split_whitespace().collect(), at: 0, allowed };
    let met = words.any()?;
    match words.next() {
        Some(word) => Err(format!("expected the end, got `{word}`")),
        None => Ok(met),
    }
}

struct Words<'a> {
    words: Vec<&'a str>,
    at: usize,
    allowed: &'a [String],
}

impl<'a> Words<'a> {
    /// Terms with OR between them.
    fn any(&mut self) -> Result<Option<Vec<String>>, String> {
        let mut met = self.all()?;
        while self.take("OR") {
            let other = self.all()?;
            met = met.or(other);
        }
        Ok(met)
    }

    /// Terms with AND between them, which binds more tightly than OR.
    fn all(&mut self) -> Result<Option<Vec<String>>, String> {
        let mut met = self.one()?;
        while self.take("AND") {
            let other = self.one()?;
            met = met.zip(other).map(|(met, other)| [met, other].concat());
        }
        Ok(met)
    }

    fn one(&mut self) -> Result<Option<Vec<String>>, String> {
        if self.take("(") {
            let met = self.any()?;
            return if self.take(")") { Ok(met) } else { Err(self.expected("`)`")) };
        }
        let Some(id) = self.next().filter(|word| !["OR", "AND", "WITH", ")"].contains(word)) else {
            return Err(self.expected("a licence"));
        };
        let mut id = id.to_owned();
        if self.take("WITH") {
            let Some(exception) = self.next() else { return Err(self.expected("an exception")) };
            id = format!("{id} WITH {exception}");
        }
        Ok(self.allowed.contains(&id).then(|| vec![id]))
    }

    fn next(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.at).copied();
        self.at += 1;
        word
    }

    fn take(&mut self, word: &str) -> bool {
        let is_next = self.words.get(self.at) == Some(&word);
        self.at += usize::from(is_next);
        is_next
    }

    fn expected(&self, part: &str) -> String {
        let at = self.words.get(self.at).map_or_else(|| "at the end".to_owned(), |word| format!("before `{word}`"));
        format!("expected {part} {at}")
    }
}

#[cfg(test)]
mod tests {
    use super::satisfied;

    #[track_caller]
    fn check(expression: &str, expected: Result<Option<&[&str]>, &str>) {
        let allowed = ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        let met = satisfied(expression, &allowed);
        let expected = expected
            .map(|ids| ids.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>()))
            .map_err(str::to_owned);
        assert_eq!(met, expected, "{expression}");
    }

    #[test]
    fn expressions_are_met_by_what_is_allowed() {
        check("MIT", Ok(Some(&["MIT"])));
        check("MIT/Apache-2.0", Ok(Some(&["MIT"])));
        check("GPL-3.0 OR Zlib", Ok(Some(&["Zlib"])));
        check("GPL-3.0", Ok(None));
        check("MIT AND Zlib", Ok(Some(&["MIT", "Zlib"])));
        check("MIT AND GPL-3.0", Ok(None));
        check("(MIT OR GPL-3.0) AND Zlib", Ok(Some(&["MIT", "Zlib"])));
        check("MIT AND GPL-3.0 OR Zlib", Ok(Some(&["Zlib"])));
        check("Zlib OR GPL-3.0 AND MIT", Ok(Some(&["Zlib"])));
        check("Apache-2.0 WITH LLVM-exception", Ok(Some(&["Apache-2.0 WITH LLVM-exception"])));
        check("Apache-2.0", Ok(None));
        check("MIT WITH some-exception", Ok(None));
    }

    #[test]
    fn expressions_that_are_none_are_refused() {
        check("", Err("expected a licence at the end"));
        check("MIT OR", Err("expected a licence at the end"));
        check("MIT Zlib", Err("expected the end, got `Zlib`"));
        check("(MIT", Err("expected `)` at the end"));
        check("MIT)", Err("expected the end, got `)`"));
        check("MIT WITH", Err("expected an exception at the end"));
    }
}
