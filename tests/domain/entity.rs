//! The catalogue, and finding an entity by what a person typed.

use qbo_raw::domain::entity::{Entity, Kind, catalogue};
use qbo_raw::error::Error;
use std::collections::BTreeSet;

fn found(typed: &str) -> &'static str {
    Entity::find(typed).unwrap_or_else(|error| panic!("{typed:?}: {error}")).name
}

fn unknown(typed: &str) -> (String, Option<&'static str>) {
    match Entity::find(typed) {
        Err(Error::UnknownEntity { given, nearest }) => (given, nearest),
        other => panic!("{typed:?} gave {other:?}"),
    }
}

#[test]
fn case_blanks_and_number_do_not_matter() {
    for typed in ["invoices", "invoice", "Invoice", " INVOICES ", "\tinvoices\n", "iNvOiCe"] {
        assert_eq!(found(typed), "invoices");
    }
    for typed in ["BillPayment", "bill_payment", "bill_payments", "BILLPAYMENT", "Bill_Payment"] {
        assert_eq!(found(typed), "bill_payments");
    }
    assert_eq!(found("journal_entry"), "journal_entries");
    assert_eq!(found("class"), "classes");
    assert_eq!(found("tax_agency"), "tax_agencies");
    assert_eq!(found("company_currency"), "company_currencies");
    assert_eq!(found("CreditCardPayment"), "credit_card_payments");
}

#[test]
fn every_entity_is_found_by_all_its_names() {
    for entity in catalogue() {
        for typed in [entity.name, entity.qbo] {
            assert_eq!(Entity::find(typed).unwrap(), entity);
            assert_eq!(Entity::find(&typed.to_uppercase()).unwrap(), entity);
        }
    }
}

#[test]
fn the_catalogue_is_sorted_and_names_can_be_part_of_a_table_name() {
    let names: Vec<_> = catalogue().iter().map(|entity| entity.name).collect();
    let qbo: BTreeSet<_> = catalogue().iter().map(|entity| entity.qbo).collect();
    // By words: bill_payments behind bills, customer_types behind customers.
    let words =
        |name: &str| name.replace('_', " ").replace("classes", "class").trim_end_matches('s').to_owned();
    for pair in names.windows(2) {
        let [a, b] = pair else { unreachable!() };
        assert!(a != b && words(a) <= words(b), "{a} before {b}");
    }
    assert_eq!(qbo.len(), names.len());
    for entity in catalogue() {
        assert!(entity.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", entity.name);
        assert!(entity.name.len() <= 40);
        assert!(entity.qbo.bytes().all(|b| b.is_ascii_alphabetic()), "{}", entity.qbo);
        assert_ne!(entity.also, Some(entity.key));
        // Only what is made inactive can have the filter for it.
        assert!(entity.kind == Kind::List || !entity.active_filter, "{}", entity.name);
    }
}

#[test]
fn keys_that_differ_from_the_name() {
    let payment = Entity::find("credit_card_payments").unwrap();
    assert_eq!((payment.key, payment.also), ("CreditCardPaymentTxn", Some("CreditCardPayment")));
    let charge = Entity::find("reimburse_charges").unwrap();
    assert_eq!((charge.key, charge.also), ("ReimburseCharge", Some("ReimburseCarge")));
    for entity in catalogue().iter().filter(|entity| entity.also.is_none()) {
        assert_eq!(entity.key, entity.qbo);
    }
    assert!(!Entity::find("tax_agencies").unwrap().active_filter);
    assert!(Entity::find("items").unwrap().active_filter);
}

#[test]
fn a_slip_of_the_finger_gets_a_suggestion() {
    for (typed, meant) in [
        ("invocies", "invoices"),
        ("invioce", "invoices"),
        ("costumers", "customers"),
        ("vendor_credit_s", "vendor_credits"),
        ("bil_payments", "bill_payments"),
        ("journal_entrys", "journal_entries"),
        ("timeactivitie", "time_activities"),
    ] {
        assert_eq!(unknown(typed).1, Some(meant), "{typed}");
    }
    let error = Entity::find("invocies").unwrap_err();
    assert_eq!(error.sqlstate(), "22023");
    assert_eq!(error.to_string(), "unknown entity \"invocies\"");
    assert_eq!(error.hint().as_deref(), Some("Did you mean 'invoices'?"));
    assert_eq!(error.detail(), None);
}

#[test]
fn hostile_input_is_no_entity_and_no_panic() {
    let long = "invoices".repeat(1_250);
    let blanks = " ".repeat(10_000);
    let emoji = "🧾".repeat(2_500);
    let hostile = [
        "",
        " ",
        "___",
        "🧾",
        "🧾🧾🧾🧾🧾🧾🧾🧾🧾🧾",
        "Invoices; drop table",
        "invoices'--",
        "invoices\0",
        "Іnvoices", // Cyrillic І
        "invоices", // Cyrillic о
        "invoices\u{200b}",
        "ｉｎｖｏｉｃｅｓ", // full width
        "ınvoıces",         // Turkish dotless i
        "e\u{301}\u{301}\u{301}",
        "\u{202e}seciovni",
        &long,
        &blanks,
        &emoji,
    ];
    for typed in hostile {
        let (given, nearest) = unknown(typed);
        assert!(given.chars().count() <= 40, "{} characters are repeated", given.chars().count());
        assert!(typed.starts_with(&given));
        assert!(nearest.is_none_or(|name| catalogue().iter().any(|entity| entity.name == name)));
    }
    assert_eq!(unknown("Invoices; drop table").1, None);
    assert_eq!(unknown("🧾").1, None);
    assert_eq!(unknown("").1, None);
    assert_eq!(unknown(&long).1, None);
    assert_eq!(unknown("Іnvoices").1, Some("invoices"));
    let hint = Entity::find(&long).unwrap_err().hint().unwrap();
    assert!(hint.contains("raw.qb_entities"), "{hint}");
}

#[test]
fn random_input_never_panics() {
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..4_000 {
        let mut typed: Vec<char> = random.choice(catalogue()).unwrap().name.chars().collect();
        for _ in 0..random.usize(0..6) {
            let at = random.usize(0..=typed.len());
            match random.u8(0..3) {
                0 => typed.insert(at, random.char('\0'..='\u{10ffff}')),
                1 if at < typed.len() => drop(typed.remove(at)),
                _ if at < typed.len() => typed[at] = random.alphanumeric(),
                _ => {}
            }
        }
        let typed: String = typed.into_iter().collect();
        if let Err(error) = Entity::find(&typed) {
            assert!(matches!(error, Error::UnknownEntity { .. }));
        }
    }
}
