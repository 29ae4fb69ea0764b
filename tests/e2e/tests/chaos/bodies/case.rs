//! Reads the files of bad answers. How they are written is said at the head of `bodies/README`.

use qbo_sim::Fault;

/// An answer, or a few of them, and what must come of it.
#[derive(Debug, Clone, Default)]
pub struct Case {
    pub name: String,
    /// Answers by the STARTPOSITION they answer.
    pub answers: Vec<(u32, Vec<u8>)>,
    pub status: Option<u16>,
    pub content_type: Option<String>,
    pub limit: Option<String>,
    pub page_size: u32,
    pub expected: Expected,
}

/// What must come of it.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// The word of the error; None: success.
    pub failed: Option<String>,
    pub stored: Vec<String>,
    /// So many records, whose ids nobody lists.
    pub count: Option<usize>,
    /// Id, where there is one, and a part of the reason.
    pub rejected: Vec<(Option<String>, String)>,
    /// Where more were met than are kept.
    pub rejected_count: Option<usize>,
    pub requests: Option<usize>,
    /// Id and the payload, as JSON.
    pub payloads: Vec<(String, String)>,
    /// Id and what its payload must have, letter by letter.
    pub says: Vec<(String, String)>,
    /// What the message of the error must have, and what it must not.
    pub message: Vec<String>,
    pub without: Vec<String>,
}

impl Case {
    /// The faults to plan in the simulator, by the part of a statement that they answer.
    pub fn faults(&self) -> Vec<(String, Fault)> {
        let fault = |body: &[u8]| match (self.status, &self.content_type) {
            (None, None) => Fault::Body(body.to_vec()),
            (status, kind) => {
                let kind = kind.clone().unwrap_or_else(|| "application/json".to_owned());
                let headers = vec![("Content-Type".to_owned(), kind)];
                Fault::Status(status.unwrap_or(200), headers, String::from_utf8(body.to_vec()).unwrap())
            }
        };
        self.answers
            .iter()
            .map(|(position, body)| (format!("STARTPOSITION {position} "), fault(body)))
            .collect()
    }
}

/// Reads a file.
pub fn read(file: &str, text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for part in format!("\n{text}").split("\n== ").skip(1) {
        let (name, lines) = part.split_once('\n').unwrap_or((part, ""));
        cases.extend(one(&format!("{file}: {}", name.trim()), lines));
    }
    cases
}

/// Lines that begin with a blank go on with the one above, without the blanks.
fn joined(lines: &str) -> Vec<String> {
    let mut whole: Vec<String> = Vec::new();
    for line in lines.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        match whole.last_mut().filter(|_| line.starts_with(' ')) {
            Some(last) => last.push_str(line.trim_start()),
            None => whole.push(line.to_owned()),
        }
    }
    whole
}

fn one(name: &str, lines: &str) -> Vec<Case> {
    let mut case = Case { name: name.to_owned(), page_size: 1_000, ..Case::default() };
    let mut cuts: Vec<usize> = Vec::new();
    for line in joined(lines) {
        let (key, value) = line.split_once(' ').unwrap_or((&line, ""));
        let value = value.trim_start();
        if key == "->" {
            expect(name, &mut case.expected, value);
            continue;
        }
        let (word, position) = key.split_once('@').unwrap_or((key, "1"));
        let position: u32 = position.parse().unwrap();
        match word {
            "body" => case.answers.push((position, expand(value))),
            "rows" => case.answers.push((position, page(&expand(value)))),
            "status" => case.status = Some(value.parse().unwrap()),
            "type" => case.content_type = Some(value.to_owned()),
            "limit" => case.limit = Some(value.to_owned()),
            "size" => case.page_size = value.parse().unwrap(),
            "cut" => cuts = value.split_whitespace().map(|cut| cut.parse().unwrap()).collect(),
            _ => panic!("{name}: what is \"{line}\"?"),
        }
    }
    assert!(!case.answers.is_empty(), "{name}: no answer");
    assert!(case.expected.failed.is_none() || case.expected.requests.is_some(), "{name}: how many requests?");
    if cuts.is_empty() {
        return vec![case];
    }
    let cut = |length: &usize| {
        let mut short = case.clone();
        short.name = format!("{} after {length}", case.name);
        assert!(*length < case.answers[0].1.len(), "{}", short.name);
        short.answers[0].1.truncate(*length);
        short
    };
    cuts.iter().map(cut).collect()
}

/// Rows in an otherwise good page.
fn page(rows: &[u8]) -> Vec<u8> {
    [
        &b"{\"QueryResponse\":{\"Invoice\":["[..],
        rows,
        b"],\"startPosition\":1},\"time\":\"2025-07-01T00:00:00.000-07:00\"}",
    ]
    .concat()
}

fn expect(name: &str, expected: &mut Expected, line: &str) {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let text = |text: &str| String::from_utf8(expand(text)).unwrap();
    let pair = || rest.split_once(' ').unwrap_or((rest, ""));
    match word {
        "failed" => expected.failed = Some(text(rest)),
        "stored" => expected.stored.extend(rest.split_whitespace().map(text)),
        "stored-id" => expected.stored.push(text(rest)),
        "count" => expected.count = Some(rest.parse().unwrap()),
        "rejected" => {
            let (id, reason) = pair();
            expected.rejected.push(((id != "-").then(|| text(id)), reason.to_owned()));
        }
        "rejected-count" => expected.rejected_count = Some(rest.parse().unwrap()),
        "requests" => expected.requests = Some(rest.parse().unwrap()),
        "payload" => expected.payloads.push((text(pair().0), text(pair().1))),
        "says" => expected.says.push((text(pair().0), text(pair().1))),
        "message" => expected.message.push(rest.to_owned()),
        "without" => expected.without.push(text(rest)),
        _ => panic!("{name}: what is \"-> {line}\"?"),
    }
}

/// The bytes that a text stands for.
pub fn expand(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, marked)) = rest.split_once('⟦') {
        let (inner, after) = marked.split_at(end_of(marked));
        bytes.extend_from_slice(before.as_bytes());
        bytes.extend(marked_bytes(inner));
        rest = after.strip_prefix('⟧').unwrap();
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// Where the bracket is that closes a marker.
fn end_of(text: &str) -> usize {
    let mut open = 0;
    for (at, c) in text.char_indices() {
        match c {
            '⟦' => open += 1,
            '⟧' if open == 0 => return at,
            '⟧' => open -= 1,
            _ => {}
        }
    }
    panic!("a marker that does not end: {text}");
}

fn marked_bytes(inner: &str) -> Vec<u8> {
    if let Some(hex) = inner.strip_prefix('x') {
        return hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    }
    if let Some((coding, text)) = inner.split_once(' ').filter(|(coding, _)| coding.starts_with("utf-")) {
        let units = text.encode_utf16();
        return match coding {
            "utf-16le" => units.flat_map(u16::to_le_bytes).collect(),
            "utf-16be" => units.flat_map(u16::to_be_bytes).collect(),
            "utf-32le" => text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect(),
            _ => panic!("{coding}"),
        };
    }
    let (times, unit) = inner.split_once('*').unwrap_or_else(|| panic!("what is ⟦{inner}⟧?"));
    let times: usize = times.split('+').map(|part| part.parse::<usize>().unwrap()).sum();
    if !unit.contains("%n") {
        return expand(unit).repeat(times);
    }
    (1..=times).flat_map(|n| expand(&unit.replace("%n", &n.to_string()))).collect()
}
