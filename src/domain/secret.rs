//! Secrets, as a type that cannot be printed by accident, and the one function that takes them out of foreign text.

use secrecy::{ExposeSecret, SecretString};

/// A client secret or a token. No Display; Debug shows nothing of it; its memory is wiped when it goes.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes a text over.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(SecretString::from(text.into()))
    }

    /// The text itself: for a request header, a form field or a parameter of a statement, and nothing else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A word of at least this many characters with letters and digits is taken for a token.
const TOKEN_LENGTH: usize = 40;

/// What stands in place of a secret.
const REDACTED: &str = "[redacted]";

/// Takes secrets out of text that others wrote. Intuit's gateway repeats the access token in the detail of a 401.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Vec<Secret>,
}

impl Redactor {
    /// Knows these secrets, beside everything that looks like a token.
    pub fn new(known: &[&Secret]) -> Self {
        let mut known: Vec<Secret> = known
            .iter()
            .filter(|secret| secret.expose().len() >= 6)
            .map(|secret| (*secret).clone())
            .collect();
        // The longest first: of one that contains another nothing may be left.
        known.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        Redactor { known }
    }

    /// The text without secrets, and without NUL: there PostgreSQL would take it to end.
    pub fn scrub(&self, text: &str) -> String {
        let mut clean = text.replace('\0', "\u{fffd}");
        for secret in &self.known {
            clean = clean.replace(secret.expose(), REDACTED);
        }
        let mut scrubbed = String::with_capacity(clean.len());
        let mut rest = clean.as_str();
        while !rest.is_empty() {
            let (word, more) = rest.split_at(rest.find(|c: char| !is_token_char(c)).unwrap_or(rest.len()));
            let (between, next) = more.split_at(more.find(is_token_char).unwrap_or(more.len()));
            let is_token = looks_like_token(word) || names_a_token(word);
            scrubbed.push_str(if is_token { REDACTED } else { word });
            scrubbed.push_str(between);
            rest = next;
            // What an Authorization header says: all of it, to the next blank or quote. The word itself may stand there twice.
            if announces(word)
                && !announces(next.split(|c: char| !is_token_char(c)).next().unwrap_or_default())
                && !between.is_empty()
                && between.chars().all(char::is_whitespace)
                && !next.is_empty()
            {
                let (_, after) = next.split_at(
                    next.find(|c: char| c.is_whitespace() || "\"'<>,;".contains(c)).unwrap_or(next.len()),
                );
                scrubbed.push_str(REDACTED);
                rest = after;
            }
        }
        scrubbed
    }
}

/// Whether a token comes next.
fn announces(word: &str) -> bool {
    ["bearer", "basic"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// `bearer=abc`, in one word.
fn names_a_token(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, value)| !value.is_empty() && announces(name))
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._~+=-".contains(c)
}

fn looks_like_token(word: &str) -> bool {
    word.len() >= TOKEN_LENGTH
        && word.bytes().any(|b| b.is_ascii_digit())
        && word.bytes().any(|b| b.is_ascii_alphabetic())
}
