//! Cuts a statement into tokens.

use super::{Refusal, syntax};

/// A token, and the column it begins at, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub what: What,
    pub column: usize,
}

/// Kinds of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A name, a keyword, a number or a boolean.
    Word(String),
    /// A value that stood in quotes.
    Text(String),
    Sign(&'static str),
}

impl Token {
    /// As the parser of QuickBooks shows it in a message.
    pub fn shown(&self) -> String {
        match &self.what {
            What::Word(word) => format!("\" <ID> \"{word} \"\""),
            What::Text(text) => format!("\" <STRING> \"'{text}' \"\""),
            What::Sign(sign) => format!("\" \"{sign}\" \"{sign} \"\""),
        }
    }
}

/// All tokens of a statement.
pub fn lex(text: &str) -> Result<Vec<Token>, Refusal> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().enumerate().peekable();
    while let Some((at, c)) = chars.next() {
        let mut push = |what| tokens.push(Token { what, column: at + 1 });
        match c {
            c if c.is_whitespace() => {}
            '\'' => {
                let mut value = String::new();
                loop {
                    match chars.next() {
                        None => return Err(lexical(text.chars().count() + 1, "<EOF>", 0)),
                        Some((_, '\'')) => break,
                        Some((_, '\\')) => value.extend(chars.next().map(|(_, c)| c)),
                        Some((_, c)) => value.push(c),
                    }
                }
                push(What::Text(value));
            }
            '<' if chars.next_if(|(_, next)| *next == '=').is_some() => push(What::Sign("<=")),
            '>' if chars.next_if(|(_, next)| *next == '=').is_some() => push(What::Sign(">=")),
            '<' => push(What::Sign("<")),
            '>' => push(What::Sign(">")),
            '=' => push(What::Sign("=")),
            '(' => push(What::Sign("(")),
            ')' => push(What::Sign(")")),
            ',' => push(What::Sign(",")),
            '*' => push(What::Sign("*")),
            c if c.is_ascii_alphanumeric() || c == '_' || c == '-' => {
                let mut word = String::from(c);
                while let Some((_, c)) =
                    chars.next_if(|(_, c)| c.is_ascii_alphanumeric() || "_.-".contains(*c))
                {
                    word.push(c);
                }
                push(What::Word(word));
            }
            c => return Err(lexical(at + 1, &c.to_string(), c as u32)),
        }
    }
    Ok(tokens)
}

/// The wording of a recorded answer.
fn lexical(column: usize, found: &str, code: u32) -> Refusal {
    let message = "Invalid content. Lexical error at line 1, column";
    if code == 0 {
        return syntax(format_args!("{message} {column}.  Encountered: {found} after : \"\""));
    }
    syntax(format_args!("{message} {column}.  Encountered: \"{found}\" ({code}), after : \"\""))
}
