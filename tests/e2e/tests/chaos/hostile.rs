//! Values that somebody might hand to a function by mistake or in bad faith, for each type that one of ours takes.

/// Expressions of SQL of a type, as `format_type` calls it.
pub fn values(type_name: &str) -> Vec<String> {
    match type_name {
        "text" => TEXTS.iter().map(|text| literal(text)).chain(TEXT_EXPRESSIONS.iter().map(owned)).collect(),
        "name" => NAMES.iter().map(|text| literal(text) + "::name").chain([owned(&"NULL::name")]).collect(),
        "date" => cast(DATES, "date"),
        "integer" => cast(INTEGERS, "int"),
        "bigint" => cast(BIGINTS, "bigint"),
        "timestamp with time zone" => cast(TIMES, "timestamptz"),
        "interval" => cast(INTERVALS, "interval"),
        "double precision" => cast(FLOATS, "float8"),
        "boolean" => cast(&["NULL", "true", "false"], "boolean"),
        "tstzrange[]" => cast(RANGES, "tstzrange[]"),
        "raw.qb_config" => vec![
            owned(&"NULL::raw.qb_config"),
            owned(&"jsonb_populate_record(NULL::raw.qb_config, '{}')"),
            owned(&"(SELECT c FROM raw.qb_config c)"),
        ],
        other => panic!("there are no hostile values of type {other}"),
    }
}

fn owned(text: &&str) -> String {
    (*text).to_owned()
}

/// A text as a literal of SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn cast(values: &[&str], type_name: &str) -> Vec<String> {
    values
        .iter()
        .map(|value| match *value {
            "NULL" => format!("NULL::{type_name}"),
            value if value.starts_with("now()") => format!("({value})::{type_name}"),
            value => format!("'{value}'::{type_name}"),
        })
        .collect()
}

const TEXT_EXPRESSIONS: &[&str] = &[
    "NULL::text",
    "repeat('x', 64)",
    "repeat('🧾', 5000)",
    "repeat('a', 1000000)",
    "repeat('%s', 10000)",
    "chr(1)",
    "chr(127)",
    "chr(65533)",
    "chr(1114111)",
];

const TEXTS: &[&str] = &[
    "",
    " ",
    "\t\r\n",
    "invoices",
    " INVOICES ",
    "Invoice",
    "invocies",
    // Letters that look like others, or cannot be seen.
    "іnvoices",
    "ınvoices",
    "İNVOICES",
    "ｉｎｖｏｉｃｅｓ",
    "invoices\u{200b}",
    "\u{feff}invoices",
    "\u{202e}seciovni",
    "e\u{301}",
    "😀",
    "\u{1b}[31mred",
    // What could end a literal, or be a part of a statement, a format, a path, an address.
    "'",
    "''",
    "\"",
    "\\",
    "\\'",
    ";",
    "'; DROP TABLE raw.qb_run; --",
    "\"; DROP SCHEMA raw CASCADE; --",
    "$$; DROP SCHEMA raw CASCADE; $$",
    "invoices; SELECT 1",
    "1) OR (1=1",
    "%",
    "%n%s%I%L%1$s",
    "_",
    "$1",
    "{}",
    "${jndi:ldap://x/}",
    "../../etc/passwd",
    "null",
    "NULL",
    "true",
    "0",
    "-1",
    "1e400",
    "١٢٣",
    "updated",
    "UPDATED",
    "created",
    "deleted",
    "nobody",
    "raw",
    "pg_catalog",
    "qb_config",
    "sandbox",
    "https://books.example/back",
    "https://books.example/back#fragment",
    "https://quickbooks.api.intuit.com@127.0.0.1/",
    "http://169.254.169.254/",
    "javascript:alert(1)",
    "file:///etc/passwd",
    "https://x/?code=a&state=b&realmId=1",
    "https://x/?code=a&code=b&state=c&realmId=1",
    "https://x/?code=a&state=b&realmId=x'y",
    "https://x/?error=%00%ff",
];

const NAMES: &[&str] = &[
    "",
    " ",
    "raw",
    "Raw",
    "public",
    "pg_temp",
    "pg_new",
    "information_schema",
    "'; DROP SCHEMA raw CASCADE; --",
    "\"; DROP SCHEMA raw CASCADE; --",
    "%I",
    "naïve 😀",
    "\u{1b}[31m",
    "a.b",
    "yet_another_schema_whose_name_is_longer_than_the_sixty_three_bytes_that_fit",
];

const DATES: &[&str] = &[
    "NULL",
    "-infinity",
    "infinity",
    "4713-01-01 BC",
    "0001-01-01",
    "1582-10-10",
    "1989-12-31",
    "epoch",
    "2024-02-29",
    "2025-07-01",
    "2025-07-02",
    "now() - '1 day'::interval",
    "now() + '1 day'::interval",
    "now() + '4 days'::interval",
    "2199-12-31",
    "2200-01-02",
    "9999-12-31",
    "5874897-12-31",
];

const INTEGERS: &[&str] = &[
    "NULL",
    "-2147483648",
    "-1001",
    "-1",
    "0",
    "1",
    "7",
    "999",
    "1000",
    "1001",
    "65536",
    "268435456",
    "2147483646",
    "2147483647",
];

const BIGINTS: &[&str] = &[
    "NULL",
    "-9223372036854775808",
    "-1",
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "7",
    "4711",
    "2147483648",
    "9223372036854775807",
];

const TIMES: &[&str] = &[
    "NULL",
    "-infinity",
    "infinity",
    "4714-11-24 00:00:00+00 BC",
    "0001-01-01 00:00+00",
    "epoch",
    "2025-07-01 12:00:00.000001+00",
    "2025-07-01 00:00:00+15:59",
    "now()",
    "now() + '1 minute'::interval",
    "now() + '359 days'::interval",
    "2262-04-12 00:00+00",
    "262143-01-01 00:00+00",
    "294276-12-31 23:59:59.999999+00",
];

const INTERVALS: &[&str] = &[
    "NULL",
    "0",
    "-1 day",
    "-178000000 years",
    "1 microsecond",
    "23:59:59.999999",
    "1 day",
    "1 month -29 days",
    "-1 month 31 days",
    "100 years",
    "2147483647 days",
    "2562047788 hours",
    "178000000 years",
];

const FLOATS: &[&str] = &[
    "NULL",
    "0",
    "-0",
    "-1",
    "0.4",
    "59.999",
    "172800",
    "1e-308",
    "1e308",
    "-1e308",
    "NaN",
    "Infinity",
    "-Infinity",
];

const RANGES: &[&str] = &[
    "NULL",
    "{}",
    "{NULL}",
    "{empty}",
    "{\"(,)\"}",
    "{\"[2025-07-01Z,)\"}",
    "{\"(,2025-07-02Z)\"}",
    "{\"[-infinity,infinity]\"}",
    "{\"[2025-07-01Z,infinity)\"}",
    "{\"[4713-01-01 BC,2025-07-02Z)\"}",
    "{\"[2025-07-01Z,294276-12-31Z)\"}",
    "{\"[2025-07-01Z,2025-07-02Z]\"}",
    "{\"(2025-07-01Z,2025-07-02Z)\"}",
    "{\"[2025-07-01Z,2025-07-01 00:00:00.5Z)\"}",
    "{\"[2025-07-01Z,2025-07-03Z)\",\"[2025-07-02Z,2025-07-04Z)\"}",
    "{\"[2025-07-01Z,2025-07-02Z)\",NULL}",
    "{{\"[2025-07-01Z,2025-07-02Z)\"},{\"[2025-07-03Z,2025-07-04Z)\"}}",
    "[5:5]={\"[2025-07-01Z,2025-07-02Z)\"}",
];
