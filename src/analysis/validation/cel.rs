//! Whether a text is an expression of the Common Expression Language, by its grammar alone: what names and functions there
//! are is the proxy's to know.
//!
//! Source: the language definition of CEL (github.com/google/cel-spec, doc/langdef.md).

/// How deep expressions may be nested to be read. What is deeper is let pass.
const DEEPEST: usize = 100;

/// Words that cannot be names.
const RESERVED: [&str; 18] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Checks an expression.
///
/// # Errors
/// What is wrong, and where.
pub fn check(text: &str) -> Result<(), String> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
    };
    let parsed = parser.expression().and_then(|()| match parser.peek()? {
        Token::End => Ok(()),
        _ => Err(parser.wrong("an operator or the end is expected")),
    });
    match parsed {
        Ok(()) | Err(Stop::TooDeep) => Ok(()),
        Err(Stop::Wrong { at, expected }) => Err(format!(
            "{text:?} is not a CEL expression: {expected} at column {}",
            text[..at].chars().count() + 1
        )),
    }
}

/// Why reading ends.
enum Stop {
    Wrong { at: usize, expected: &'static str },
    TooDeep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    End,
    Name(&'a str),
    Literal,
    Sign(&'a str),
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

type Read = Result<(), Stop>;

impl<'a> Parser<'a> {
    fn wrong(&self, expected: &'static str) -> Stop {
        let rest = &self.text[self.at..];
        let at = self.text.len() - rest.trim_start().len();
        Stop::Wrong { at, expected }
    }

    /// The next token, which stays.
    fn peek(&self) -> Result<Token<'a>, Stop> {
        self.token().map(|(token, _)| token)
    }

    fn next(&mut self) -> Result<Token<'a>, Stop> {
        let (token, end) = self.token()?;
        self.at = end;
        Ok(token)
    }

    /// Takes a sign if it is the next token.
    fn takes(&mut self, sign: &str) -> Result<bool, Stop> {
        let (token, end) = self.token()?;
        let is_it = token == Token::Sign(sign);
        if is_it {
            self.at = end;
        }
        Ok(is_it)
    }

    fn expect(&mut self, sign: &str, expected: &'static str) -> Read {
        if self.takes(sign)? {
            Ok(())
        } else {
            Err(self.wrong(expected))
        }
    }

    /// Operators of two sides all read alike: how they bind does not matter here.
    fn expression(&mut self) -> Read {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Stop::TooDeep);
        }
        self.operations()?;
        if self.takes("?")? {
            self.operations()?;
            self.expect(":", "':' is expected")?;
            self.expression()?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn operations(&mut self) -> Read {
        loop {
            self.operand()?;
            let is_operator = match self.peek()? {
                Token::Sign(sign) => [
                    "||", "&&", "<", "<=", ">", ">=", "==", "!=", "+", "-", "*", "/", "%",
                ]
                .contains(&sign),
                Token::Name(name) => name == "in",
                _ => false,
            };
            if !is_operator {
                return Ok(());
            }
            self.next()?;
        }
    }

    fn operand(&mut self) -> Read {
        let sign = ["!", "-"].into_iter();
        for sign in sign {
            if self.takes(sign)? {
                while self.takes(sign)? {}
                break;
            }
        }
        self.primary()?;
        loop {
            if self.takes(".")? {
                self.name()?;
                self.call()?;
            } else if self.takes("[")? {
                self.expression()?;
                self.expect("]", "']' is expected")?;
            } else if self.takes("{")? {
                self.items("}", true)?;
            } else {
                return Ok(());
            }
        }
    }

    fn primary(&mut self) -> Read {
        let before = self.at;
        match self.next()? {
            Token::Literal => Ok(()),
            Token::Name(name) if RESERVED.contains(&name) => {
                self.at = before;
                Err(self.wrong("a name that is no reserved word is expected"))
            }
            Token::Name(_) => self.call(),
            Token::Sign(".") => {
                self.name()?;
                self.call()
            }
            Token::Sign("(") => {
                self.expression()?;
                self.expect(")", "')' is expected")
            }
            Token::Sign("[") => self.items("]", false),
            Token::Sign("{") => self.items("}", true),
            _ => {
                self.at = before;
                Err(self.wrong("a value is expected"))
            }
        }
    }

    fn name(&mut self) -> Read {
        let before = self.at;
        match self.next()? {
            Token::Name(name) if name != "in" => Ok(()),
            _ => {
                self.at = before;
                Err(self.wrong("a name is expected"))
            }
        }
    }

    /// The arguments of a call, if there are any.
    fn call(&mut self) -> Read {
        if self.takes("(")? {
            self.items(")", false)?;
        }
        Ok(())
    }

    /// Expressions up to a sign, each after a key and a colon where they are entries of a map.
    fn items(&mut self, end: &str, entries: bool) -> Read {
        while !self.takes(end)? {
            self.expression()?;
            if entries {
                self.expect(":", "':' is expected")?;
                self.expression()?;
            }
            if !self.takes(",")? {
                return self.expect(end, "',' or the end of the list is expected");
            }
            if end == ")" && self.peek()? == Token::Sign(")") {
                return Err(self.wrong("an argument is expected"));
            }
        }
        Ok(())
    }

    /// The next token and where it ends.
    fn token(&self) -> Result<(Token<'a>, usize), Stop> {
        let start = self.start();
        let rest = &self.text[start..];
        let Some(first) = rest.chars().next() else {
            return Ok((Token::End, start));
        };
        if let Some(length) = text_literal(rest) {
            let end = start + length.ok_or_else(|| self.wrong("the end of a text is missing"))?;
            return Ok((Token::Literal, end));
        }
        if first.is_ascii_digit()
            || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit()))
        {
            let length = number(rest).ok_or_else(|| self.wrong("a number is expected"))?;
            return Ok((Token::Literal, start + length));
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let inner = |char: char| char.is_ascii_alphanumeric() || char == '_';
            let length = rest.find(|char| !inner(char)).unwrap_or(rest.len());
            let token = match &rest[..length] {
                "true" | "false" | "null" => Token::Literal,
                name => Token::Name(name),
            };
            return Ok((token, start + length));
        }
        let signs = [
            "||", "&&", "<=", ">=", "==", "!=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":",
            ".", ",", "(", ")", "[", "]", "{", "}",
        ];
        match signs.into_iter().find(|sign| rest.starts_with(sign)) {
            Some(sign) => Ok((Token::Sign(&rest[..sign.len()]), start + sign.len())),
            None => Err(self.wrong("a character that CEL does not know")),
        }
    }

    /// Where the next token begins, after blanks and comments.
    fn start(&self) -> usize {
        let mut rest = self.text[self.at..].trim_start();
        while let Some(comment) = rest.strip_prefix("//") {
            let end = comment.find('\n').unwrap_or(comment.len());
            rest = comment[end..].trim_start();
        }
        self.text.len() - rest.len()
    }
}

/// The length of a text that begins here, if one does: the inner `None` means that it has no end.
fn text_literal(rest: &str) -> Option<Option<usize>> {
    let prefix = rest
        .find(|char: char| !matches!(char, 'r' | 'R' | 'b' | 'B'))
        .filter(|length| *length <= 2)?;
    let quoted = &rest[prefix..];
    let quote = quoted
        .chars()
        .next()
        .filter(|char| matches!(char, '"' | '\''))?;
    let raw = rest[..prefix].contains(['r', 'R']);
    let triple: String = std::iter::repeat_n(quote, 3).collect();
    let mark = if quoted.starts_with(&triple) {
        &quoted[..3]
    } else {
        &quoted[..1]
    };
    let mut inner = quoted[mark.len()..].char_indices();
    while let Some((at, char)) = inner.next() {
        if quoted[mark.len() + at..].starts_with(mark) {
            return Some(Some(prefix + mark.len() + at + mark.len()));
        }
        match char {
            '\\' if !raw => {
                inner.next();
            }
            '\n' | '\r' if mark.len() == 1 => return Some(None),
            _ => {}
        }
    }
    Some(None)
}

/// The length of a number.
fn number(rest: &str) -> Option<usize> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    if let Some(hexadecimal) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
        let length = hexadecimal
            .bytes()
            .take_while(u8::is_ascii_hexdigit)
            .count();
        let unsigned = usize::from(hexadecimal[length..].starts_with(['u', 'U']));
        return (length > 0).then_some(2 + length + unsigned);
    }
    let mut length = digits(rest);
    let fraction = rest[length..].strip_prefix('.').map_or(0, digits);
    if fraction > 0 {
        length += 1 + fraction;
    }
    if let Some(exponent) = rest[length..].strip_prefix(['e', 'E']) {
        let sign = usize::from(exponent.starts_with(['+', '-']));
        let size = digits(&exponent[sign..]);
        if size > 0 {
            return Some(length + 1 + sign + size);
        }
    }
    Some(length + usize::from(fraction == 0 && rest[length..].starts_with(['u', 'U'])))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn expressions_are_valid() {
        for text in [
            "true",
            "response.code >= 400",
            "connection.mtls && request.url_path.contains('v1beta3')",
            "response.code == 503 || !has(response.flags) // why",
            "request.headers['x-user'] in [\"a\", 'b', r'\\', \"\"\"c\n\"\"\"]",
            "a ? b : c ? d : e",
            "{'a': 1u, 'b': 0x1F, 'c': 1.5e-3, 'd': .5}.size() > 2",
            "[1, 2,].exists(x, x > -1)",
            ".a.b{c: 1}.d == null",
            "--1 < 2 && !!x",
            "a.map(x, x * 2)[0] % 3 == 1",
            "a.if",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_expressions_are_refused_with_the_place() {
        for (text, column) in [
            (")++++", 1),
            ("", 1),
            ("a b", 3),
            ("a &", 3),
            ("a &&", 5),
            ("(a", 3),
            ("f(a,)", 5),
            ("'a", 1),
            ("'a\n'", 1),
            ("{1 2}", 4),
            ("a ? b", 6),
            ("if", 1),
            ("a. 1", 4),
            ("0x", 1),
            ("a = b", 3),
        ] {
            let error = check(text).unwrap_err();
            assert!(
                error.ends_with(&format!("at column {column}")),
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn deep_nesting_is_not_followed() {
        assert_eq!(check(&"(".repeat(100_000)), Ok(()));
        assert_eq!(check(&"a?b:".repeat(100_000)), Ok(()));
        assert!(check(&"!".repeat(100_000)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_check_panic(text in "[a-z0-9.?:(){}\\[\\]'\"\\\\rb/,|&= -]{0,24}|\\PC*") {
            let _ = check(&text);
        }
    }
}
