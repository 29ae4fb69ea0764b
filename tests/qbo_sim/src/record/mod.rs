//! The records of a company, made from its seed: the same seed and number give the same record, whatever the size
//! of the company. Shape and weight are those of real ones. Pure.

mod dice;
mod list;
mod people;
mod sale;
mod transaction;
mod words;
mod writer;

pub use dice::Dice;
pub use writer::quote;

use crate::entity::Entity;
use crate::time::pacific;
use writer::Writer;

/// What can change of a record. Times in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    pub created: i64,
    pub updated: i64,
    /// The SyncToken: how often it was changed.
    pub number: u32,
    pub active: bool,
}

/// Renders a record of an entity.
pub fn render(seed: u64, entity: &'static Entity, number: u64, version: &Version) -> String {
    let mut made = Made {
        seed,
        entity,
        number,
        version,
        dice: Dice::new(seed, entity.name, number),
        out: Writer::new(),
    };
    made.out.begin();
    match entity.name {
        "Invoice" | "Estimate" | "SalesReceipt" | "CreditMemo" | "RefundReceipt" => sale::write(&mut made),
        "Customer" | "Vendor" | "Employee" => people::write(&mut made),
        "Item" => list::item(&mut made),
        "Account" => list::account(&mut made),
        "TaxAgency" => list::agency(&mut made),
        "JournalEntry" => transaction::journal(&mut made),
        "Payment" | "BillPayment" => transaction::payment(&mut made),
        "TimeActivity" => transaction::hours(&mut made),
        "Bill" | "Purchase" | "PurchaseOrder" | "VendorCredit" => transaction::expense(&mut made),
        _ if entity.kind == crate::entity::Kind::Transaction => transaction::other(&mut made),
        _ => list::plain(&mut made),
    }
    made.out.close();
    made.out.finish()
}

/// The first version of a record: its times, in seconds, and whether it is active.
pub fn first_version(seed: u64, entity: &Entity, number: u64, (from, to): (i64, i64)) -> Version {
    let length = (to - from).max(1) as u64;
    let place =
        |number: u64| from + (Dice::new(seed, entity.name, number ^ 0x5157_0000_0000).roll() % length) as i64;
    let mut dice = Dice::new(seed, entity.name, number ^ 0xa11c_0000_0000);
    // Imports leave many records in one second: long runs seldom, and one record in eight shares its neighbour's.
    let leader = if (3_000..3_150).contains(&(number % 5_000)) {
        number - number % 5_000
    } else if number > 1 && dice.below(8) == 0 {
        number - 1
    } else {
        number
    };
    let updated = place(leader);
    let created = updated - (dice.below(3) * dice.below(3 * 86_400)) as i64;
    let active = !entity.has_active() || entity.is_pseudo(number) || dice.below(10) > 0;
    Version { created: created.max(from), updated, number: 0, active }
}

/// A record in the making.
struct Made<'a> {
    seed: u64,
    entity: &'static Entity,
    number: u64,
    version: &'a Version,
    dice: Dice,
    out: Writer,
}

impl Made<'_> {
    /// What every record has.
    fn head(&mut self) {
        let pseudo = self.entity.is_pseudo(self.number);
        if !pseudo {
            self.out.text("domain", "QBO");
            self.out.raw("sparse", false);
        }
        self.out.text("Id", self.entity.id(self.number));
        if !pseudo {
            self.out.text("SyncToken", self.version.number.to_string());
        }
        self.out.open("MetaData");
        self.out.text("CreateTime", pacific(self.version.created));
        self.out.text("LastUpdatedTime", pacific(self.version.updated));
        self.out.close();
    }

    /// The day of creation, and others by their distance to it.
    fn day(&self, after: i64) -> String {
        let mut day = pacific(self.version.created + after * 86_400);
        day.truncate(10);
        day
    }

    fn currency(&mut self) {
        self.out.reference("CurrencyRef", "USD", "United States Dollar");
    }

    fn number_and_day(&mut self) {
        self.out.text("DocNumber", (1_000 + self.number).to_string());
        let day = self.day(0);
        self.out.text("TxnDate", day);
    }

    /// What a change leaves behind beside SyncToken and time.
    fn note(&mut self, key: &str) {
        // Rolled in any case, so that a change leaves the rest of the record as it was.
        let (some, note) = (self.dice.below(3) == 0, self.dice.pick(words::NOTE));
        if self.version.number > 0 {
            self.out.text(key, format!("Changed {} times", self.version.number));
        } else if some {
            self.out.text(key, note);
        }
    }

    /// A name, with the suffix that inactive records get.
    fn named(&self, plain: &str) -> String {
        if self.version.active { plain.to_owned() } else { format!("{plain} (deleted)") }
    }

    fn address(&mut self, key: &str) {
        let id = self.dice.below(90_000).to_string();
        let street = format!("{} {}", 1 + self.dice.below(9_999), self.dice.pick(words::STREET));
        let city = self.dice.pick(words::CITY);
        let code = format!("{:05}", self.dice.below(99_999));
        let (north, west) = (self.dice.below(9_999_999), self.dice.below(9_999_999));
        self.out.open(key);
        self.out.text("Id", id);
        self.out.text("Line1", street);
        self.out.text("City", city);
        self.out.text("CountrySubDivisionCode", "CA");
        self.out.text("PostalCode", code);
        if self.number.is_multiple_of(7) {
            self.out.text("Lat", "INVALID");
            self.out.text("Long", "INVALID");
        } else {
            self.out.text("Lat", format!("37.{north:07}"));
            self.out.text("Long", format!("-122.{west:07}"));
        }
        self.out.close();
    }

    /// A customer or an item that this record speaks of: one of the first, so that every company has it.
    fn someone(&mut self, entity: &str) -> (u64, String) {
        let number = 1 + self.dice.below(40);
        let name = if entity == "Item" {
            list::item_name(self.seed, number)
        } else {
            people::name(self.seed, entity, number)
        };
        (number, name)
    }
}
