//! The text of SQL statements. A statement is written by us, whole, as a `'static` text; what varies are identifiers, which
//! stand in it as placeholders and are filled from the catalogue of entities and a quoted schema name. Values travel as
//! parameters. So nothing that a user types can become SQL.

use crate::domain::entity::Entity;
use pgrx::spi::{quote_identifier, quote_qualified_identifier};

/// Where the tables of an entity are: the target schema of its connection and the entity's name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target {
    schema: String,
    entity: &'static str,
}

impl Target {
    /// The tables of `entity` in `schema`.
    pub fn new(schema: &str, entity: &'static Entity) -> Self {
        Target { schema: schema.to_owned(), entity: entity.name }
    }

    /// The schema, unquoted.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The entity's name.
    pub fn entity(&self) -> &'static str {
        self.entity
    }

    /// Name of the data table, without its schema.
    pub fn data(&self) -> String {
        ["qb_", self.entity].concat()
    }

    /// Name of the report table, without its schema.
    pub fn report(&self) -> String {
        ["backfill_report_", self.entity].concat()
    }

    /// Name of the reject table, without its schema.
    pub fn rejects(&self) -> String {
        "qb_rejects".to_owned()
    }

    /// A table with its schema, quoted where need be.
    pub fn qualified(&self, table: &str) -> String {
        quote_qualified_identifier(self.schema.as_str(), table)
    }
}

/// A statement that `spi` accepts.
#[derive(Clone)]
pub struct Statement(String);

impl Statement {
    /// A statement without placeholders.
    pub fn fixed(text: &'static str) -> Self {
        Statement(text.to_owned())
    }

    /// A statement in which `%data`, `%report` and `%rejects` stand for the tables of `target`, `%schema` for their schema.
    /// What was filled in is not looked at again: a schema may be called like a placeholder.
    pub fn on(template: &'static str, target: &Target) -> Self {
        let names = [
            ("data", target.qualified(&target.data())),
            ("report", target.qualified(&target.report())),
            ("rejects", target.qualified(&target.rejects())),
            ("schema", quote_identifier(target.schema.as_str())),
        ];
        let mut pieces = template.split('%');
        let mut text = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            match names.iter().find_map(|(word, name)| Some((name, piece.strip_prefix(word)?))) {
                Some((name, rest)) => text.extend([name, rest]),
                None => text.extend(["%", piece]),
            }
        }
        Statement(text)
    }

    /// Whether it reads or changes rows, and is no command about something else.
    pub fn is_query(&self) -> bool {
        let text = self.0.trim_start();
        ["SELECT", "WITH", "INSERT", "UPDATE", "DELETE"].iter().any(|verb| text.starts_with(verb))
    }

    /// The finished text.
    pub fn text(&self) -> &str {
        &self.0
    }
}
