//! Transactions that are not sales.

use super::{Made, words};

/// Bills, purchases, orders: a vendor and account lines.
pub fn expense(made: &mut Made) {
    if made.entity.name == "Purchase" {
        made.out.reference("AccountRef", 42, "Visa");
        made.out.text("PaymentType", "CreditCard");
    }
    made.head();
    made.number_and_day();
    made.currency();
    made.note("PrivateNote");
    let count = 1 + made.dice.below(5);
    let mut sum = 0;
    made.out.list("Line");
    for line in 1..=count {
        let amount = 1 + made.dice.below(90_000);
        sum += amount;
        let text = made.dice.pick(words::WORK);
        let account = 40 + made.dice.below(60);
        made.out.begin();
        made.out.text("Id", line.to_string());
        made.out.raw("LineNum", line);
        made.out.text("Description", text);
        made.out.money("Amount", amount);
        made.out.list("LinkedTxn");
        made.out.end();
        made.out.text("DetailType", "AccountBasedExpenseLineDetail");
        made.out.open("AccountBasedExpenseLineDetail");
        made.out.reference("AccountRef", account, "Job Expenses:Job Materials:Plants and Soil");
        made.out.text("BillableStatus", "NotBillable");
        made.out.reference("TaxCodeRef", "NON", "");
        made.out.close();
        made.out.close();
    }
    made.out.end();
    let (vendor, name) = made.someone("Vendor");
    made.out.reference(if made.entity.name == "Purchase" { "EntityRef" } else { "VendorRef" }, vendor, &name);
    if made.entity.name == "Bill" {
        let due = made.day(30);
        made.out.text("DueDate", due);
        made.out.money("Balance", if made.version.number.is_multiple_of(2) { sum } else { 0 });
    }
    made.out.money("TotalAmt", sum);
}

/// Journal entries: two lines that balance.
pub fn journal(made: &mut Made) {
    made.out.raw("Adjustment", false);
    made.head();
    made.number_and_day();
    made.currency();
    made.note("PrivateNote");
    let amount = 1 + made.dice.below(900_000);
    made.out.list("Line");
    for (line, side) in [(0, "Debit"), (1, "Credit")] {
        let account = 1 + made.dice.below(90);
        made.out.begin();
        made.out.text("Id", line.to_string());
        made.out.money("Amount", amount);
        made.out.text("DetailType", "JournalEntryLineDetail");
        made.out.open("JournalEntryLineDetail");
        made.out.text("PostingType", side);
        made.out.reference("AccountRef", account, "Miscellaneous");
        made.out.close();
        made.out.close();
    }
    made.out.end();
    made.out.money("TotalAmt", amount);
}

/// Payments: linked transactions.
pub fn payment(made: &mut Made) {
    let sold = made.entity.name == "Payment";
    let (who, name) = made.someone(if sold { "Customer" } else { "Vendor" });
    made.out.reference(if sold { "CustomerRef" } else { "VendorRef" }, who, &name);
    let total = 1 + made.dice.below(900_000);
    made.out.money("TotalAmt", total);
    if sold {
        made.out.raw("UnappliedAmt", 0);
        made.out.raw("ProcessPayment", false);
    } else {
        made.out.text("PayType", "Check");
    }
    made.head();
    made.number_and_day();
    made.currency();
    made.note("PrivateNote");
    let linked = 1 + made.dice.below(100_000);
    made.out.list("Line");
    made.out.begin();
    made.out.money("Amount", total);
    made.out.list("LinkedTxn");
    made.out.begin();
    made.out.text("TxnId", linked.to_string());
    made.out.text("TxnType", if sold { "Invoice" } else { "Bill" });
    made.out.close();
    made.out.end();
    made.out.close();
    made.out.end();
}

/// Time activities.
pub fn hours(made: &mut Made) {
    let day = made.day(0);
    made.out.text("TxnDate", day);
    made.out.text("NameOf", "Employee");
    let (employee, name) = made.someone("Employee");
    made.out.reference("EmployeeRef", employee, &name);
    let (customer, name) = made.someone("Customer");
    made.out.reference("CustomerRef", customer, &name);
    made.out.text("BillableStatus", "NotBillable");
    made.out.raw("Taxable", false);
    let rate = made.dice.below(20_000);
    made.out.money("HourlyRate", rate);
    let (hours, minutes) = (made.dice.below(9), made.dice.below(60));
    made.out.raw("Hours", hours);
    made.out.raw("Minutes", minutes);
    made.note("Description");
    made.head();
}

/// Any other: an amount and a line.
pub fn other(made: &mut Made) {
    made.head();
    if made.entity.can_filter("docnumber") {
        made.out.text("DocNumber", (1_000 + made.number).to_string());
    }
    let day = made.day(0);
    made.out.text(if made.entity.name == "TaxPayment" { "PaymentDate" } else { "TxnDate" }, day);
    made.currency();
    made.note("PrivateNote");
    let amount = 1 + made.dice.below(900_000);
    if made.entity.name == "Transfer" {
        made.out.reference("FromAccountRef", 35, "Checking");
        made.out.reference("ToAccountRef", 36, "Savings");
        made.out.money("Amount", amount);
        return;
    }
    if made.entity.name == "ReimburseCharge" {
        let (customer, name) = made.someone("Customer");
        made.out.reference("CustomerRef", customer, &name);
    }
    made.out.list("Line");
    made.out.begin();
    made.out.text("Id", "1");
    made.out.raw("LineNum", 1);
    made.out.money("Amount", amount);
    made.out.text("DetailType", "DepositLineDetail");
    made.out.open("DepositLineDetail");
    made.out.reference("AccountRef", 87, "Unapplied Cash Payment Income");
    made.out.close();
    made.out.close();
    made.out.end();
    made.out.money("TotalAmt", amount);
}
