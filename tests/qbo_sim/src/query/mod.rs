//! The query language (Intuit, "Data queries"): `SELECT * | COUNT(*) FROM Entity [WHERE a op v AND …] [ORDERBY a
//! [ASC|DESC], …] [STARTPOSITION n] [MAXRESULTS m]`. AND only; values in single quotes with backslash escapes,
//! booleans bare. Pure.

mod lex;
mod parse;

pub use parse::parse;

/// A parsed statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub entity: String,
    pub select: Select,
    pub conditions: Vec<Condition>,
    pub order: Vec<Order>,
    /// Row offset, from 1.
    pub start: usize,
    pub max: usize,
}

/// What is asked of the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Select {
    All,
    Count,
    /// Some properties: not documented as supported, answered with sparse stubs.
    Properties(Vec<String>),
}

/// A key of the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub property: String,
    pub descending: bool,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub property: String,
    pub operator: Operator,
    pub values: Vec<String>,
}

/// The operators there are; there is no OR, no NOT and no `!=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Equal,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
    In,
    Like,
}

/// Why a statement is refused: code, message and detail, as QuickBooks words them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: &'static str,
    pub message: &'static str,
    pub detail: String,
}

/// A statement that cannot be parsed.
pub fn syntax(detail: impl std::fmt::Display) -> Refusal {
    Refusal { code: "4000", message: "Error parsing query", detail: format!("QueryParserError: {detail}") }
}

/// A statement that can be parsed and makes no sense.
pub fn invalid(detail: impl std::fmt::Display) -> Refusal {
    Refusal { code: "4001", message: "Invalid query", detail: format!("QueryValidationError: {detail}") }
}
