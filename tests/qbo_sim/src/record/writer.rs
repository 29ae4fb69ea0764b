//! Writes JSON text as QuickBooks lays it out: no blanks, properties in their order, numbers with their digits. Pure.

use std::fmt::{Display, Write};

/// A JSON text in the making. Commas come by themselves.
#[derive(Default)]
pub struct Writer {
    out: String,
}

impl Writer {
    /// Room for a record.
    pub fn new() -> Self {
        Writer { out: String::with_capacity(4_096) }
    }

    /// The text.
    pub fn finish(self) -> String {
        self.out
    }

    fn separate(&mut self) {
        if !matches!(self.out.as_bytes().last(), None | Some(b'{' | b'[')) {
            self.out.push(',');
        }
    }

    fn key(&mut self, key: &str) {
        self.separate();
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\":");
    }

    /// `{`, as a member of an array or the whole.
    pub fn begin(&mut self) {
        self.separate();
        self.out.push('{');
    }

    /// `"key":{`
    pub fn open(&mut self, key: &str) {
        self.key(key);
        self.out.push('{');
    }

    /// `}`
    pub fn close(&mut self) {
        self.out.push('}');
    }

    /// `"key":[`
    pub fn list(&mut self, key: &str) {
        self.key(key);
        self.out.push('[');
    }

    /// `]`
    pub fn end(&mut self) {
        self.out.push(']');
    }

    /// A number or a boolean, as it is.
    pub fn raw(&mut self, key: &str, value: impl Display) {
        self.key(key);
        let _ = write!(self.out, "{value}");
    }

    /// An amount in cents, with two decimals.
    pub fn money(&mut self, key: &str, cents: u64) {
        self.raw(key, format_args!("{}.{:02}", cents / 100, cents % 100));
    }

    /// A text.
    pub fn text(&mut self, key: &str, value: impl AsRef<str>) {
        self.key(key);
        quote(&mut self.out, value.as_ref());
    }

    /// A reference to another record.
    pub fn reference(&mut self, key: &str, value: impl Display, name: &str) {
        self.open(key);
        self.text("value", value.to_string());
        if !name.is_empty() {
            self.text("name", name);
        }
        self.close();
    }
}

/// Appends a JSON string.
pub fn quote(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || c < ' ') {
        let (plain, odd) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = odd.chars();
        match chars.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\t') => out.push_str("\\t"),
            Some(c) => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}
