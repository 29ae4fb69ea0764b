//! The rules of the house, read off the source: who may know whom, how long a file may be, where statements come from. Each
//! rule is a function over text, and is shown a text that breaks it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files below a folder with an ending, with their text.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    fn walk(dir: &Path, ending: &str, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            // What the fuzz targets were built into is nobody's source.
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                walk(&path, ending, found);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), ending, &mut found);
    assert!(!found.is_empty(), "{folder} is empty");
    found
}

/// The code of a file: without what follows `//` and without texts in quotes, so that a word in a sentence is no finding.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Words of code that a layer must not use, as they stand in it.
fn forbidden<'a>(text: &str, words: &[&'a str]) -> Vec<&'a str> {
    let code = code(text);
    words.iter().copied().filter(|word| code.contains(word)).collect()
}

const NOT_IN_DOMAIN: &[&str] = &[
    "pgrx",
    "pg_sys",
    "Spi",
    "ureq",
    "oauth2",
    "std::net",
    "std::thread",
    "std::sync",
    "Instant",
    "SystemTime",
    "Utc::now",
    "Local::now",
    "fastrand",
    "std::fs",
    "std::env",
    "std::io",
    "crate::http",
    "crate::pg",
];
const NOT_IN_HTTP: &[&str] = &["pgrx", "pg_sys", "Spi", "crate::pg"];

#[test]
fn domain_reaches_no_socket_clock_thread_or_database() {
    for (file, text) in files("src/domain", "rs") {
        assert_eq!(forbidden(&text, NOT_IN_DOMAIN), Vec::<&str>::new(), "{file}");
    }
    assert_eq!(
        forbidden(&std::fs::read_to_string(root().join("src/error.rs")).unwrap(), NOT_IN_HTTP),
        Vec::<&str>::new()
    );
    assert_eq!(forbidden("let t = std::time::Instant::now();", NOT_IN_DOMAIN), ["Instant"]);
    assert_eq!(forbidden("// the clock is an Instant", NOT_IN_DOMAIN), Vec::<&str>::new());
}

#[test]
fn http_reaches_no_database() {
    for (file, text) in files("src/http", "rs") {
        assert_eq!(forbidden(&text, NOT_IN_HTTP), Vec::<&str>::new(), "{file}");
    }
    assert_eq!(forbidden("use pgrx::prelude::*;", NOT_IN_HTTP), ["pgrx"]);
}

/// Calls into SPI outside its door, and statements that are not a literal of ours.
fn loose_statements(file: &str, text: &str) -> Vec<String> {
    let code = code(text);
    let mut found = Vec::new();
    if !file.ends_with("pg/spi.rs") && (code.contains("Spi::") || code.contains("SPI_")) {
        found.push("SPI is used outside spi.rs".to_owned());
    }
    if file.ends_with("pg/statement.rs") {
        return found;
    }
    for call in ["Statement::fixed(", "Statement::on("] {
        for (at, _) in code.match_indices(call) {
            let argument = code[at + call.len()..].trim_start();
            // A literal, or a constant or parameter of type &'static str.
            let first = argument.split([',', ')']).next().unwrap_or_default().trim();
            let constant = !first.is_empty() && first.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            if !(argument.starts_with('"') || constant || first == "text") {
                found.push(format!("{call}{first}"));
            }
        }
    }
    if code.contains("Statement(") {
        found.push("a Statement is made by hand".to_owned());
    }
    found
}

#[test]
fn statements_are_written_by_us_whole() {
    for (file, text) in files("src/pg", "rs") {
        assert_eq!(loose_statements(&file, &text), Vec::<String>::new(), "{file}");
    }
    // The constructors take 'static text, so what is built at run time does not compile; this keeps it so.
    let statement = std::fs::read_to_string(root().join("src/pg/statement.rs")).unwrap();
    assert!(
        statement.contains("fn fixed(text: &'static str)")
            && statement.contains("fn on(template: &'static str")
    );
    assert_eq!(loose_statements("x.rs", "Statement::fixed(&format!(\"SELECT {user}\"))").len(), 1);
    assert_eq!(loose_statements("x.rs", "Spi::run(\"SELECT 1\")").len(), 1);
    assert_eq!(loose_statements("x.rs", "Statement::fixed(\"SELECT 1\")"), Vec::<String>::new());
}

/// Lines with `unsafe` that no SAFETY comment explains, in the three lines before or after.
fn unexplained_unsafe(text: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().collect();
    (0..lines.len())
        .filter(|at| code(lines[*at]).contains("unsafe {"))
        .filter(|at| {
            !lines[at.saturating_sub(3)..(at + 3).min(lines.len())].iter().any(|line| line.contains("SAFETY"))
        })
        .map(|at| at + 1)
        .collect()
}

#[test]
fn every_unsafe_block_is_explained_and_stands_in_the_shell() {
    for (file, text) in files("src", "rs") {
        assert_eq!(unexplained_unsafe(&text), Vec::<usize>::new(), "{file}");
        let shell = file.contains("/src/pg/") || file.ends_with("/src/http/thread.rs");
        assert!(shell || !code(&text).contains("unsafe {"), "{file}");
    }
    assert_eq!(unexplained_unsafe("fn f() {\n    unsafe { g() }\n}"), [2]);
}

#[test]
fn files_hold_one_concept() {
    for folder in ["src", "tests"] {
        for (file, text) in files(folder, "rs") {
            assert!(text.lines().count() <= 400, "{file}: {} lines", text.lines().count());
            assert!(text.starts_with("//!"), "{file}: says nothing about itself");
        }
    }
}

/// Lines of code with anything but ASCII.
fn not_ascii(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !code(line).is_ascii()).map(str::trim).collect()
}

#[test]
fn messages_are_ascii() {
    // A client whose encoding lacks a character gets an error about that instead of the message.
    for (file, text) in files("src", "rs") {
        let kept: Vec<&str> =
            not_ascii(&text).into_iter().filter(|line| !line.contains("\"Secret(…)\"")).collect();
        assert_eq!(kept, Vec::<&str>::new(), "{file}");
    }
    for (file, text) in files("sql", "sql") {
        let said = text.lines().filter(|line| !line.is_ascii() && !line.trim_start().starts_with("--"));
        // Words that tables of others hold.
        let said: Vec<&str> = said.filter(|line| !line.contains("'éxito'")).collect();
        assert_eq!(said, Vec::<&str>::new(), "{file}");
    }
    assert_eq!(not_ascii("// …\nlet a = \"…\";"), ["let a = \"…\";"]);
}

/// Functions of a SQL text whose search_path is not pinned.
fn unpinned(sql: &str) -> Vec<String> {
    sql.split("CREATE FUNCTION ")
        .skip(1)
        .filter(|text| {
            let head =
                text.split(" AS ").next().unwrap_or_default().split("\nAS ").next().unwrap_or_default();
            !head.contains("SET search_path = pg_catalog, pg_temp")
        })
        .map(|text| text.split('(').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn sql_functions_pin_their_search_path_and_grant_nothing_to_public() {
    for (file, text) in files("sql", "sql") {
        assert_eq!(unpinned(&text), Vec::<String>::new(), "{file}");
        assert!(!text.contains("TO PUBLIC"), "{file}");
        assert!(!text.contains("CREATE OR REPLACE"), "{file}: would take over an object of a stranger");
    }
    assert_eq!(unpinned("CREATE FUNCTION raw.f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$"), ["raw.f"]);
}

#[test]
fn every_symbol_named_in_sql_exists_and_every_function_is_named() {
    let sql: String = files("sql", "sql").into_iter().map(|(_, text)| text).collect();
    let named: BTreeSet<String> = sql
        .split("'MODULE_PATHNAME', '")
        .skip(1)
        .map(|rest| rest.split("_wrapper'").next().unwrap_or_default().to_owned())
        .collect();
    let mut made = BTreeSet::new();
    for (_, text) in files("src/pg/api", "rs") {
        for part in text.split("#[pg_extern(sql = false)]").skip(1) {
            made.insert(part.split("fn ").nth(1).unwrap().split('(').next().unwrap().to_owned());
        }
    }
    assert_eq!(named, made);
    assert!(named.contains("qb_backfill"));
}

#[test]
fn the_library_lists_the_sql_files_in_their_order() {
    let library = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let listed: Vec<&str> = library
        .split("extension_sql_file!(\"../sql/")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap_or_default())
        .collect();
    let mut there: Vec<String> = std::fs::read_dir(root().join("sql"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(|c: char| c.is_ascii_digit()))
        .collect();
    there.sort();
    assert_eq!(listed, there);
}

/// Heads of the hunks of a patch that do not fit: what they show of a file is not in it.
fn misfits(patch: &str, file: impl Fn(&str) -> String) -> Vec<&str> {
    let mut found = Vec::new();
    for part in patch.split("\n--- a/").skip(1) {
        let text = file(part.split('\n').next().unwrap_or_default());
        for hunk in part.split("\n@@ ").skip(1) {
            let (head, lines) = hunk.split_once('\n').unwrap_or_default();
            let before: String = lines.lines().filter_map(shown).flat_map(|line| [line, "\n"]).collect();
            if !text.contains(&before) {
                found.push(head);
            }
        }
    }
    found
}

/// A line of a hunk as it was before the patch, if it was there.
fn shown(line: &str) -> Option<&str> {
    line.strip_prefix([' ', '-']).or(line.is_empty().then_some(""))
}

#[test]
fn every_planted_defect_fits_the_source_and_names_tests_that_exist() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    for (file, patch) in files("tests/planted", "patch") {
        assert!(patch.contains("\n--- a/src/"), "{file} plants nothing");
        assert_eq!(misfits(&patch, read), Vec::<&str>::new(), "{file}");
        let (suite, tests) = patch.lines().nth(1).and_then(|line| line.split_once(": ")).expect("a suite");
        let folder =
            if suite == "domain" { "tests/domain".to_owned() } else { format!("tests/e2e/tests/{suite}") };
        let there = files(&folder, "rs");
        for part in tests.split([' ', ':']).filter(|part| !part.is_empty()) {
            let is_there =
                |(path, text): &(String, String)| path.ends_with(&format!("/{part}.rs")) || names(text, part);
            assert!(there.iter().any(is_there), "{file}: no test of {suite} has '{part}' in its name");
        }
    }
    let patch = "What.\nchaos: x\n--- a/f\n+++ b/f\n@@ -1,2 +1,1 @@ g\n a\n-b\n";
    assert_eq!(misfits(patch, |_| "a\nb\n".to_owned()), Vec::<&str>::new());
    assert_eq!(misfits(patch, |_| "a\nc\n".to_owned()), ["-1,2 +1,1 @@ g"]);
}

/// Whether a function has this in its name.
fn names(text: &str, part: &str) -> bool {
    text.split("fn ").skip(1).any(|rest| rest.split('(').next().is_some_and(|name| name.contains(part)))
}

#[test]
fn the_control_file_trusts_nobody() {
    let control = std::fs::read_to_string(root().join("qbo_raw.control")).unwrap();
    for line in [
        "superuser = true",
        "trusted = false",
        "relocatable = false",
        "schema = 'raw'",
        "module_pathname = '$libdir/qbo_raw'",
    ] {
        assert!(control.contains(line), "{line}");
    }
    assert!(control.contains(&format!("default_version = '{}'", env!("CARGO_PKG_VERSION"))));
}
