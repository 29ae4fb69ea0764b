//! Lists that are not people: items, accounts, and the small ones.

use super::{Dice, Made, words};

/// The name of an item, unique by its number.
pub fn item_name(seed: u64, number: u64) -> String {
    format!("{} {number}", Dice::new(seed, "Item", number ^ 0x4a3e_0000_0000).pick(words::GOODS))
}

/// An item.
pub fn item(made: &mut Made) {
    let plain = item_name(made.seed, made.number);
    let shown = made.named(&plain);
    let (sku, price, cost) = (made.dice.below(999_999), made.dice.below(90_000), made.dice.below(60_000));
    let kind = made.dice.pick(&["Service", "NonInventory", "Inventory", "Group"]);
    let account = 40 + made.dice.below(60);
    made.out.text("Name", &shown);
    made.out.text("Sku", format!("SKU-{sku:06}"));
    made.note("Description");
    made.out.raw("Active", made.version.active);
    made.out.text("FullyQualifiedName", &shown);
    made.out.raw("Taxable", true);
    made.out.money("UnitPrice", price);
    made.out.text("Type", kind);
    made.out.reference("IncomeAccountRef", account, "Sales of Product Income");
    made.out.money("PurchaseCost", cost);
    made.out.raw("TrackQtyOnHand", kind == "Inventory");
    if kind == "Inventory" {
        let quantity = made.dice.below(500);
        made.out.raw("QtyOnHand", quantity);
        let start = made.day(-90);
        made.out.text("InvStartDate", start);
    }
    made.head();
}

/// An account of the chart.
pub fn account(made: &mut Made) {
    let (class, kind) =
        [("Asset", "Bank"), ("Expense", "Expense"), ("Revenue", "Income"), ("Liability", "Accounts Payable")]
            .get(made.dice.below(4) as usize)
            .copied()
            .unwrap_or_default();
    let shown = made.named(&format!("{kind} {}", made.number));
    made.out.text("Name", &shown);
    made.out.raw("SubAccount", false);
    made.note("Description");
    made.out.text("FullyQualifiedName", &shown);
    made.out.raw("Active", made.version.active);
    made.out.text("Classification", class);
    made.out.text("AccountType", kind);
    let balance = made.dice.below(9_000_000);
    // An account can be overdrawn.
    if balance.is_multiple_of(5) {
        made.out.raw("CurrentBalance", format_args!("-{}.{:02}", balance / 100, balance % 100));
    } else {
        made.out.money("CurrentBalance", balance);
    }
    made.currency();
    made.head();
}

/// A tax agency, which knows no Active.
pub fn agency(made: &mut Made) {
    made.out.raw("TaxTrackedOnPurchases", false);
    made.out.raw("TaxTrackedOnSales", true);
    let name = format!("{} Department of Revenue {}", made.dice.pick(words::CITY), made.number);
    if made.version.number > 0 {
        made.out.text("TaxRegistrationNumber", format!("changed-{}", made.version.number));
    }
    made.out.text("DisplayName", name);
    made.head();
}

/// Any other list: name, Active, and one or two fields of its kind.
pub fn plain(made: &mut Made) {
    let plain = match (made.entity.name, made.number) {
        ("TaxCode", 1) => "TAX".to_owned(),
        ("TaxCode", 2) => "NON".to_owned(),
        ("Term", n) => format!("{} {n}", made.dice.pick(words::TERM)),
        (_, n) => format!("{} {n}", made.dice.pick(words::GOODS)),
    };
    let shown = made.named(&plain);
    made.out.text("Name", &shown);
    match made.entity.name {
        "Class" | "Department" => {
            made.out.raw("SubClass", false);
            made.out.text("FullyQualifiedName", &shown);
        }
        "CompanyCurrency" => made.out.text("Code", format!("C{:02}", made.number % 100)),
        "PaymentMethod" => made.out.text("Type", "NON_CREDIT_CARD"),
        "JournalCode" => made.out.text("Type", "Sales"),
        "TaxRate" => {
            let rate = made.dice.below(2_500);
            made.out.raw("RateValue", format_args!("{}.{:02}", rate / 100, rate % 100));
        }
        "Term" => {
            made.out.text("Type", "STANDARD");
            let days = made.dice.below(90);
            made.out.raw("DueDays", days);
        }
        _ => {}
    }
    made.note("Description");
    if made.entity.has_active() && !made.entity.is_pseudo(made.number) {
        made.out.raw("Active", made.version.active);
    }
    made.head();
}
