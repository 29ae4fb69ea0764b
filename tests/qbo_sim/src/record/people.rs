//! Customers, vendors and employees.

use super::{Dice, Made, words};

fn parts(seed: u64, entity: &str, number: u64) -> (&'static str, &'static str, &'static str) {
    let mut dice = Dice::new(seed, entity, number ^ 0x4a3e_0000_0000);
    (dice.pick(words::FIRST), dice.pick(words::LAST), dice.pick(words::TRADE))
}

/// The display name of a person or company, unique by its number.
pub fn name(seed: u64, entity: &str, number: u64) -> String {
    let (first, last, trade) = parts(seed, entity, number);
    match entity {
        "Employee" => format!("{first} {last} {number}"),
        _ if number.is_multiple_of(3) => format!("{trade} {number}"),
        _ => format!("{first} {last}'s {trade} {number}"),
    }
}

/// The record.
pub fn write(made: &mut Made) {
    let entity = made.entity.name;
    let (first, last, _) = parts(made.seed, entity, made.number);
    let plain = name(made.seed, entity, made.number);
    let shown = made.named(&plain);
    match entity {
        "Customer" => {
            let taxable = made.dice.below(2) == 0;
            made.out.raw("Taxable", taxable);
            made.address("BillAddr");
            made.address("ShipAddr");
            made.note("Notes");
            made.out.raw("Job", false);
            made.out.raw("BillWithParent", false);
        }
        "Vendor" => {
            made.address("BillAddr");
            made.note("Notes");
            let (tax, account) = (made.dice.below(10_000), made.dice.below(9_999_999));
            made.out.text("TaxIdentifier", format!("XXXXXX{tax:04}"));
            made.out.text("AcctNum", account.to_string());
            made.out.raw("Vendor1099", tax.is_multiple_of(2));
        }
        _ => {
            made.out.raw("BillableTime", false);
            made.address("PrimaryAddr");
            let hired = made.day(-400);
            made.out.text("HiredDate", hired);
            if made.version.number > 0 {
                made.out.text("Title", format!("Changed {} times", made.version.number));
            }
        }
    }
    if entity != "Employee" {
        let balance = if made.dice.below(2) == 0 { 0 } else { made.dice.below(900_000) };
        if balance == 0 {
            made.out.raw("Balance", 0);
        } else {
            made.out.money("Balance", balance);
        }
        if entity == "Customer" {
            made.out.money("BalanceWithJobs", balance);
        }
        made.currency();
    }
    if entity == "Customer" {
        made.out.text("PreferredDeliveryMethod", "Print");
        made.out.raw("IsProject", false);
    }
    made.head();
    made.out.text("GivenName", first);
    made.out.text("FamilyName", last);
    if entity != "Employee" {
        if entity == "Customer" {
            made.out.text("FullyQualifiedName", &shown);
        }
        made.out.text("CompanyName", &plain);
    }
    made.out.text("DisplayName", &shown);
    made.out.text("PrintOnCheckName", &plain);
    made.out.raw("Active", made.version.active);
    if entity == "Customer" {
        let pseudonym = made.dice.roll();
        made.out.text("V4IDPseudonym", format!("0020{pseudonym:016x}"));
    }
    let phone = made.dice.below(10_000);
    made.out.open("PrimaryPhone");
    made.out.text("FreeFormNumber", format!("(555) 555-{phone:04}"));
    made.out.close();
    made.out.open("PrimaryEmailAddr");
    made.out.text("Address", format!("{}{}@example.com", entity.to_ascii_lowercase(), made.number));
    made.out.close();
}
