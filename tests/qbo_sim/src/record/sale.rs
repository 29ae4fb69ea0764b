//! Invoices and their kin: three to twenty lines, references, addresses, custom fields; 2 to 5 KB each.

use super::{Made, words};

/// The record.
pub fn write(made: &mut Made) {
    let entity = made.entity.name;
    if entity == "Invoice" {
        for flag in
            ["AllowIPNPayment", "AllowOnlinePayment", "AllowOnlineCreditCardPayment", "AllowOnlineACHPayment"]
        {
            made.out.raw(flag, false);
        }
    }
    made.head();
    custom_fields(made);
    made.number_and_day();
    made.currency();
    if made.dice.below(6) == 0 {
        let rate = made.dice.below(999_999);
        made.out.raw("ExchangeRate", format_args!("1.{rate:06}"));
    }
    made.note("PrivateNote");
    made.out.list("LinkedTxn");
    if made.dice.below(4) == 0 {
        let payment = 1 + made.dice.below(100_000);
        made.out.begin();
        made.out.text("TxnId", payment.to_string());
        made.out.text("TxnType", "Payment");
        made.out.close();
    }
    made.out.end();
    let sum = lines(made);
    let tax = sum * 8 / 100;
    taxes(made, sum, tax);
    let (customer, name) = made.someone("Customer");
    made.out.reference("CustomerRef", customer, &name);
    let memo = made.dice.pick(words::NOTE);
    made.out.open("CustomerMemo");
    made.out.text("value", memo);
    made.out.close();
    made.address("BillAddr");
    made.address("ShipAddr");
    let term = made.dice.below(4);
    made.out.reference("SalesTermRef", term + 1, words::TERM.get(term as usize).copied().unwrap_or_default());
    let due = made.day([0, 15, 30, 60].get(term as usize).copied().unwrap_or(30));
    made.out.text("DueDate", due);
    made.out.money("TotalAmt", sum + tax);
    made.out.raw("ApplyTaxAfterDiscount", false);
    made.out.text("PrintStatus", "NeedToPrint");
    made.out.text("EmailStatus", "NotSet");
    made.out.open("BillEmail");
    made.out.text("Address", format!("customer{customer}@example.com"));
    made.out.close();
    // Every other version is a paid one.
    if made.version.number.is_multiple_of(2) {
        made.out.money("Balance", sum + tax);
    } else {
        made.out.raw("Balance", 0);
    }
}

fn custom_fields(made: &mut Made) {
    let crew = made.dice.below(99_999);
    made.out.list("CustomField");
    for (id, name) in [("1", "Crew #"), ("2", "Sales Rep")] {
        made.out.begin();
        made.out.text("DefinitionId", id);
        made.out.text("Name", name);
        made.out.text("Type", "StringType");
        if id == "1" {
            made.out.text("StringValue", crew.to_string());
        }
        made.out.close();
    }
    made.out.end();
}

/// The lines; their sum in cents.
fn lines(made: &mut Made) -> u64 {
    let most = if made.dice.below(12) == 0 { 18 } else { 8 };
    let count = 3 + made.dice.below(most);
    let mut sum = 0;
    made.out.list("Line");
    for line in 1..=count {
        // Quantities in halves, prices in even cents: every amount is whole cents.
        let (halves, price) = (1 + made.dice.below(24), 2 * (1 + made.dice.below(25_000)));
        let amount = halves * price / 2;
        sum += amount;
        let (item, name) = made.someone("Item");
        let text = made.dice.pick(words::WORK);
        let code = if made.dice.below(3) == 0 { "NON" } else { "TAX" };
        made.out.begin();
        made.out.text("Id", line.to_string());
        made.out.raw("LineNum", line);
        made.out.text("Description", text);
        made.out.money("Amount", amount);
        made.out.text("DetailType", "SalesItemLineDetail");
        made.out.open("SalesItemLineDetail");
        made.out.reference("ItemRef", item, &name);
        made.out.raw("UnitPrice", short(price));
        made.out.raw("Qty", short(halves * 50));
        made.out.reference("TaxCodeRef", code, "");
        made.out.close();
        made.out.close();
    }
    made.out.begin();
    made.out.money("Amount", sum);
    made.out.text("DetailType", "SubTotalLineDetail");
    made.out.open("SubTotalLineDetail");
    made.out.close();
    made.out.close();
    made.out.end();
    sum
}

fn taxes(made: &mut Made, sum: u64, tax: u64) {
    made.out.open("TxnTaxDetail");
    made.out.reference("TxnTaxCodeRef", 2, "");
    made.out.money("TotalTax", tax);
    made.out.list("TaxLine");
    made.out.begin();
    made.out.money("Amount", tax);
    made.out.text("DetailType", "TaxLineDetail");
    made.out.open("TaxLineDetail");
    made.out.reference("TaxRateRef", 3, "");
    made.out.raw("PercentBased", true);
    made.out.raw("TaxPercent", 8);
    made.out.money("NetAmountTaxable", sum);
    made.out.close();
    made.out.close();
    made.out.end();
    made.out.close();
}

/// Hundredths without needless zeros: 75, 22.5, 12.75.
fn short(hundredths: u64) -> String {
    let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
