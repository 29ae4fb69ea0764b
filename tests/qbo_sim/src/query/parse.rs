//! Reads a statement from its tokens. Keywords, entities and properties do not care about case.

use super::lex::{Token, What, lex};
use super::{Condition, Operator, Order, Refusal, Select, Statement, invalid, syntax};

/// Most rows of a page, and how many there are without MAXRESULTS.
const MOST: usize = 1_000;
const DEFAULT: usize = 100;

/// Parses a statement; `today` is what CURRENT_DATE stands for.
pub fn parse(text: &str, today: &str) -> Result<Statement, Refusal> {
    let mut tokens = Tokens { tokens: lex(text)?, at: 0, end: text.chars().count(), today };
    tokens.keyword("select")?;
    let select = tokens.select()?;
    tokens.keyword("from")?;
    let entity = tokens.word()?;
    let mut statement =
        Statement { entity, select, conditions: Vec::new(), order: Vec::new(), start: 1, max: DEFAULT };
    if tokens.takes("where") {
        loop {
            statement.conditions.push(tokens.condition()?);
            if !tokens.takes("and") {
                break;
            }
        }
    }
    let ordered =
        tokens.takes("orderby") || (tokens.takes("order") && tokens.keyword("by").map(|()| true)?);
    if ordered {
        loop {
            let property = tokens.word()?;
            let descending = tokens.takes("desc");
            if !descending {
                tokens.takes("asc");
            }
            statement.order.push(Order { property, descending });
            if !tokens.sign(",") {
                break;
            }
        }
    }
    let (mut start, mut max) = (None, None);
    loop {
        if start.is_none() && tokens.takes("startposition") {
            start = Some(tokens.number()?);
        } else if max.is_none() && tokens.takes("maxresults") {
            max = Some(tokens.number()?);
        } else {
            break;
        }
    }
    if tokens.peek().is_some() {
        return Err(tokens.unexpected());
    }
    statement.start = start.unwrap_or(1);
    statement.max = max.unwrap_or(DEFAULT);
    // Zero was tolerated for years and refused at other times; the stricter answer shows the bug.
    if statement.start < 1 || statement.max < 1 {
        return Err(invalid("value 0 is too small. Min allowed value is 1."));
    }
    if statement.max > MOST {
        return Err(invalid(format_args!(
            "value {} is too large. Max allowed value is {MOST}.",
            statement.max
        )));
    }
    Ok(statement)
}

struct Tokens<'a> {
    tokens: Vec<Token>,
    at: usize,
    end: usize,
    today: &'a str,
}

impl Tokens<'_> {
    fn peek(&self) -> Option<&What> {
        self.tokens.get(self.at).map(|token| &token.what)
    }

    /// Takes this keyword if it comes next.
    fn takes(&mut self, keyword: &str) -> bool {
        let yes = matches!(self.peek(), Some(What::Word(word)) if word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(yes);
        yes
    }

    fn sign(&mut self, sign: &str) -> bool {
        let yes = matches!(self.peek(), Some(What::Sign(next)) if *next == sign);
        self.at += usize::from(yes);
        yes
    }

    fn keyword(&mut self, keyword: &str) -> Result<(), Refusal> {
        if self.takes(keyword) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn need(&mut self, sign: &str) -> Result<(), Refusal> {
        if self.sign(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> Refusal {
        match self.tokens.get(self.at) {
            Some(token) => {
                syntax(format_args!("Encountered {} at line 1, column {}.", token.shown(), token.column))
            }
            None => syntax(format_args!("Encountered \"<EOF>\" at line 1, column {}.", self.end)),
        }
    }

    fn word(&mut self) -> Result<String, Refusal> {
        match self.peek() {
            Some(What::Word(word)) => {
                let word = word.clone();
                self.at += 1;
                Ok(word)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn number(&mut self) -> Result<usize, Refusal> {
        let here = self.unexpected();
        self.word()?.parse().map_err(|_| here)
    }

    /// A text in quotes, or bare a number, a boolean or CURRENT_DATE.
    fn value(&mut self) -> Result<String, Refusal> {
        let is_bare = |word: &str| {
            word.eq_ignore_ascii_case("true")
                || word.eq_ignore_ascii_case("false")
                || word.parse::<f64>().is_ok()
        };
        let value = match self.peek() {
            Some(What::Text(value)) => value.clone(),
            Some(What::Word(word)) if word.eq_ignore_ascii_case("CURRENT_DATE") => self.today.to_owned(),
            Some(What::Word(word)) if is_bare(word) => word.clone(),
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(value)
    }

    fn select(&mut self) -> Result<Select, Refusal> {
        if self.sign("*") {
            return Ok(Select::All);
        }
        if self.takes("count") {
            for sign in ["(", "*", ")"] {
                self.need(sign)?;
            }
            return Ok(Select::Count);
        }
        let mut properties = vec![self.word()?];
        while self.sign(",") {
            properties.push(self.word()?);
        }
        Ok(Select::Properties(properties))
    }

    fn condition(&mut self) -> Result<Condition, Refusal> {
        let property = self.word()?;
        if self.takes("in") {
            self.need("(")?;
            let mut values = vec![self.value()?];
            while self.sign(",") {
                values.push(self.value()?);
            }
            self.need(")")?;
            return Ok(Condition { property, operator: Operator::In, values });
        }
        if self.takes("like") {
            return Ok(Condition { property, operator: Operator::Like, values: vec![self.value()?] });
        }
        let operator = match self.peek() {
            Some(What::Sign("=")) => Operator::Equal,
            Some(What::Sign("<")) => Operator::Less,
            Some(What::Sign(">")) => Operator::Greater,
            Some(What::Sign("<=")) => Operator::LessOrEqual,
            Some(What::Sign(">=")) => Operator::GreaterOrEqual,
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(Condition { property, operator, values: vec![self.value()?] })
    }
}
