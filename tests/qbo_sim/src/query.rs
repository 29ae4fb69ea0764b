//! The query language (Intuit, "Data queries"): `SELECT * | COUNT(*) FROM Entity [WHERE a op v AND …] [ORDERBY a [ASC|DESC],
//! …] [STARTPOSITION n] [MAXRESULTS m]`. AND only; values in single quotes with backslash escapes, booleans bare.

/// A parsed statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    pub entity: String,
    pub count: bool,
    pub conditions: Vec<Condition>,
    pub order: Vec<(String, bool)>,
    pub start: usize,
    pub max: usize,
}

/// One condition; `descending` of an order is its second field.
#[derive(Debug, Clone, PartialEq)]
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

/// Why a statement is refused: code and detail, as QuickBooks words them.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub code: &'static str,
    pub message: &'static str,
    pub detail: String,
}

/// A statement that cannot be parsed.
fn syntax(detail: impl std::fmt::Display) -> Refusal {
    Refusal { code: "4000", message: "Error parsing query", detail: format!("QueryParserError: {detail}") }
}

/// A statement that can be parsed and makes no sense.
pub fn invalid(detail: impl std::fmt::Display) -> Refusal {
    Refusal { code: "4001", message: "Invalid query", detail: format!("QueryValidationError: {detail}") }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(String),
}

/// Most records of a page, and how many there are without MAXRESULTS.
const MOST: usize = 1000;
const DEFAULT: usize = 100;

/// Parses a statement.
pub fn parse(text: &str) -> Result<Statement, Refusal> {
    let mut words = Words { tokens: lex(text)?, at: 0 };
    words.keyword("select")?;
    let count = if words.sign("*") {
        false
    } else {
        words.keyword("count")?;
        for sign in ["(", "*", ")"] {
            words.need(sign)?;
        }
        true
    };
    words.keyword("from")?;
    let entity = words.word()?;
    let mut statement =
        Statement { entity, count, conditions: Vec::new(), order: Vec::new(), start: 1, max: DEFAULT };
    if words.is("where") {
        loop {
            statement.conditions.push(words.condition()?);
            if !words.is("and") {
                break;
            }
        }
    }
    if words.is("orderby") || (words.is("order") && words.is("by")) {
        loop {
            let property = words.word()?;
            let descending = words.is("desc");
            words.is("asc");
            statement.order.push((property, descending));
            if !words.sign(",") {
                break;
            }
        }
    }
    loop {
        if words.is("startposition") {
            statement.start = words.number()?;
            if statement.start < 1 {
                return Err(invalid("value 0 is too small. Min allowed value is 1"));
            }
        } else if words.is("maxresults") {
            statement.max = words.number()?;
            if statement.max > MOST {
                let detail = format!("value {} is too large. Max allowed value is {MOST}.", statement.max);
                return Err(invalid(detail));
            }
        } else {
            break;
        }
    }
    match words.peek() {
        None => Ok(statement),
        Some(token) => Err(syntax(format!("Encountered {token:?} where the statement should end"))),
    }
}

fn lex(text: &str) -> Result<Vec<Token>, Refusal> {
    let mut tokens = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((place, c)) = chars.next() {
        match c {
            c if c.is_whitespace() => {}
            '\'' => {
                let mut value = String::new();
                loop {
                    match chars.next() {
                        None => return Err(syntax("Invalid content. A value is not closed by a quote")),
                        Some((_, '\'')) => break,
                        Some((_, '\\')) => value.extend(chars.next().map(|(_, c)| c)),
                        Some((_, c)) => value.push(c),
                    }
                }
                tokens.push(Token::Text(value));
            }
            '<' | '>' if chars.next_if(|(_, next)| *next == '=').is_some() => {
                tokens.push(Token::Sign(format!("{c}=")))
            }
            '<' | '>' | '=' | '(' | ')' | ',' | '*' => tokens.push(Token::Sign(c.to_string())),
            c if c.is_ascii_alphanumeric() || c == '_' || c == '-' => {
                let mut word = String::from(c);
                while let Some((_, c)) =
                    chars.next_if(|(_, c)| c.is_ascii_alphanumeric() || "_.-".contains(*c))
                {
                    word.push(c);
                }
                tokens.push(Token::Word(word));
            }
            c => {
                let detail = format!(
                    "Invalid content. Lexical error at line 1, column {}.  Encountered: \"{c}\" ({}), after : \"\"",
                    place + 1,
                    c as u32
                );
                return Err(syntax(detail));
            }
        }
    }
    Ok(tokens)
}

struct Words {
    tokens: Vec<Token>,
    at: usize,
}

impl Words {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    /// Takes this keyword if it comes next; case does not matter.
    fn is(&mut self, keyword: &str) -> bool {
        let yes = matches!(self.peek(), Some(Token::Word(word)) if word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(yes);
        yes
    }

    fn sign(&mut self, sign: &str) -> bool {
        let yes = matches!(self.peek(), Some(Token::Sign(next)) if next == sign);
        self.at += usize::from(yes);
        yes
    }

    fn keyword(&mut self, keyword: &str) -> Result<(), Refusal> {
        if self.is(keyword) {
            Ok(())
        } else {
            Err(syntax(format!("Encountered {:?}, expected {keyword}", self.peek())))
        }
    }

    fn need(&mut self, sign: &str) -> Result<(), Refusal> {
        if self.sign(sign) {
            Ok(())
        } else {
            Err(syntax(format!("Encountered {:?}, expected {sign}", self.peek())))
        }
    }

    fn word(&mut self) -> Result<String, Refusal> {
        match self.next() {
            Some(Token::Word(word)) => Ok(word),
            other => Err(syntax(format!("Encountered {other:?}, expected a name"))),
        }
    }

    fn number(&mut self) -> Result<usize, Refusal> {
        let word = self.word()?;
        word.parse().map_err(|_| syntax(format!("Encountered \"{word}\", expected a number")))
    }

    fn value(&mut self) -> Result<String, Refusal> {
        match self.next() {
            Some(Token::Text(value) | Token::Word(value)) => Ok(value),
            other => Err(syntax(format!("Encountered {other:?}, expected a value"))),
        }
    }

    fn condition(&mut self) -> Result<Condition, Refusal> {
        let property = self.word()?;
        if self.is("in") {
            self.need("(")?;
            let mut values = vec![self.value()?];
            while self.sign(",") {
                values.push(self.value()?);
            }
            self.need(")")?;
            return Ok(Condition { property, operator: Operator::In, values });
        }
        let operator = if self.is("like") {
            Operator::Like
        } else {
            match self.next() {
                Some(Token::Sign(sign)) => match sign.as_str() {
                    "=" => Operator::Equal,
                    "<" => Operator::Less,
                    ">" => Operator::Greater,
                    "<=" => Operator::LessOrEqual,
                    ">=" => Operator::GreaterOrEqual,
                    other => return Err(syntax(format!("Encountered \"{other}\", expected an operator"))),
                },
                other => return Err(syntax(format!("Encountered {other:?}, expected an operator"))),
            }
        };
        Ok(Condition { property, operator, values: vec![self.value()?] })
    }
}
