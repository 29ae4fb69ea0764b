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

    /// The text without secrets.
    pub fn scrub(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for secret in &self.known {
            clean = clean.replace(secret.expose(), REDACTED);
        }
        let mut scrubbed = String::with_capacity(clean.len());
        let mut rest = clean.as_str();
        let mut after_bearer = false;
        while !rest.is_empty() {
            let length = rest.find(|c: char| !is_token_char(c)).unwrap_or(rest.len());
            let (word, more) = rest.split_at(length);
            if looks_like_token(word) || (after_bearer && !word.is_empty()) {
                scrubbed.push_str(REDACTED);
            } else {
                scrubbed.push_str(word);
            }
            let gap = more.find(is_token_char).unwrap_or(more.len());
            let (between, next) = more.split_at(gap);
            if !word.is_empty() {
                after_bearer =
                    word.eq_ignore_ascii_case("bearer") && between.chars().all(char::is_whitespace);
            }
            scrubbed.push_str(between);
            rest = next;
        }
        scrubbed
    }
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._~+=-".contains(c)
}

fn looks_like_token(word: &str) -> bool {
    word.len() >= TOKEN_LENGTH
        && word.bytes().any(|b| b.is_ascii_digit())
        && word.bytes().any(|b| b.is_ascii_alphabetic())
}
