//! The catalogue of entities: what QuickBooks calls them, what SQL calls them, and which filters they know. Names, keys and
//! the Active filter are from Intuit's API reference and schema files (qbo `IntuitNamesTypes`); only entities with an Id and
//! a MetaData that are queried in the ordinary way are in it.

use crate::error::{Error, Result};

/// What deleting means for an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Never deleted, only made inactive.
    List,
    /// Deleted for good.
    Transaction,
}

/// One kind of record.
#[derive(Debug, PartialEq, Eq)]
pub struct Entity {
    /// SQL name, plural: `invoices`. Part of table names.
    pub name: &'static str,
    /// Name in a query: `Invoice`.
    pub qbo: &'static str,
    /// Key of the list in an answer; differs from the name for CreditCardPayment.
    pub key: &'static str,
    /// Another key that answers have been seen with.
    pub also: Option<&'static str>,
    pub kind: Kind,
    /// Whether a query without `Active IN (true, false)` leaves inactive records out.
    pub active_filter: bool,
}

const fn list(name: &'static str, qbo: &'static str) -> Entity {
    Entity { name, qbo, key: qbo, also: None, kind: Kind::List, active_filter: true }
}

const fn transaction(name: &'static str, qbo: &'static str) -> Entity {
    Entity { name, qbo, key: qbo, also: None, kind: Kind::Transaction, active_filter: false }
}

static CATALOGUE: &[Entity] = &[
    list("accounts", "Account"),
    transaction("bills", "Bill"),
    transaction("bill_payments", "BillPayment"),
    list("budgets", "Budget"),
    list("classes", "Class"),
    list("company_currencies", "CompanyCurrency"),
    Entity {
        name: "credit_card_payments",
        qbo: "CreditCardPayment",
        key: "CreditCardPaymentTxn",
        also: Some("CreditCardPayment"),
        kind: Kind::Transaction,
        active_filter: false,
    },
    transaction("credit_memos", "CreditMemo"),
    list("customers", "Customer"),
    list("customer_types", "CustomerType"),
    list("departments", "Department"),
    transaction("deposits", "Deposit"),
    list("employees", "Employee"),
    transaction("estimates", "Estimate"),
    transaction("invoices", "Invoice"),
    list("items", "Item"),
    transaction("journal_entries", "JournalEntry"),
    transaction("payments", "Payment"),
    list("payment_methods", "PaymentMethod"),
    transaction("purchases", "Purchase"),
    transaction("purchase_orders", "PurchaseOrder"),
    transaction("refund_receipts", "RefundReceipt"),
    Entity {
        name: "reimburse_charges",
        qbo: "ReimburseCharge",
        key: "ReimburseCharge",
        also: Some("ReimburseCarge"),
        kind: Kind::Transaction,
        active_filter: false,
    },
    transaction("sales_receipts", "SalesReceipt"),
    Entity {
        name: "tax_agencies",
        qbo: "TaxAgency",
        key: "TaxAgency",
        also: None,
        kind: Kind::List,
        active_filter: false,
    },
    list("tax_codes", "TaxCode"),
    list("tax_rates", "TaxRate"),
    list("terms", "Term"),
    transaction("time_activities", "TimeActivity"),
    transaction("transfers", "Transfer"),
    list("vendors", "Vendor"),
    transaction("vendor_credits", "VendorCredit"),
];

/// Every entity that can be asked for, in the order of their names.
pub fn catalogue() -> &'static [Entity] {
    CATALOGUE
}

/// Longest text that a name is looked for in; anything longer is no name.
const LONGEST: usize = 40;

impl Entity {
    /// Finds an entity by what a person types: blanks around it and the case do not matter, and QuickBooks' own name is as
    /// good as ours. Error: `UnknownEntity`, with the name that was probably meant.
    pub fn find(given: &str) -> Result<&'static Entity> {
        let typed = given.trim();
        let known = CATALOGUE.iter().find(|entity| {
            typed.eq_ignore_ascii_case(entity.name)
                || typed.eq_ignore_ascii_case(entity.qbo)
                || singular(entity, typed)
        });
        known.ok_or_else(|| Error::UnknownEntity {
            given: given.chars().take(LONGEST).collect(),
            nearest: nearest(typed),
        })
    }
}

/// `bill_payment` for `bill_payments`.
fn singular(entity: &Entity, typed: &str) -> bool {
    typed.chars().filter(|c| *c != '_').collect::<String>().eq_ignore_ascii_case(entity.qbo)
}

fn nearest(typed: &str) -> Option<&'static str> {
    if typed.len() > LONGEST {
        return None;
    }
    let typed = typed.to_ascii_lowercase();
    CATALOGUE
        .iter()
        .map(|entity| {
            (
                distance(&typed, entity.name).min(distance(&typed, &entity.qbo.to_ascii_lowercase())),
                entity.name,
            )
        })
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 5)
        .map(|(_, name)| name)
}

/// Edit distance of Levenshtein, over characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
