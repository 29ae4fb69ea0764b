//! The records of a company, made from its seed: the same seed and number give the same record, whatever the size of the
//! company. Shape and weight are those of real ones; money has two decimals, texts have Unicode.

use crate::time::pacific;

/// A stream of numbers for one record (SplitMix64).
pub struct Dice(u64);

impl Dice {
    /// For a record of an entity.
    pub fn new(seed: u64, entity: &str, number: u64) -> Self {
        let name = entity
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Dice(seed ^ name ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.roll() % n.max(1)
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list.get(self.below(list.len() as u64) as usize).copied().unwrap_or_default()
    }
}

/// What can change of a record.
#[derive(Debug, Clone, Copy)]
pub struct Version {
    pub number: u32,
    pub created: i64,
    pub updated: i64,
    pub active: bool,
}

const FIRST: &[&str] = &[
    "Amy", "Björn", "Chloé", "Dmitri", "Éva", "Fátima", "Grace", "Hiroshi", "Inês", "Jürgen", "Łukasz", "Zoë",
];
const LAST: &[&str] = &[
    "Lauterbach",
    "Nguyễn",
    "O'Brien",
    "Müller",
    "García",
    "Sørensen",
    "Kowalski",
    "Tanaka",
    "Smith",
    "Dubois",
];
const TRADE: &[&str] = &[
    "Bird Sanctuary",
    "Windsurf Shop",
    "Basketball Camp",
    "Kookies",
    "Büromöbel",
    "Café",
    "花店",
    "Landscaping",
    "Imports",
];
const GOODS: &[&str] = &[
    "Design",
    "Rock Fountain",
    "Pump",
    "Concrete",
    "Sprinkler Heads",
    "Crème brûlée",
    "Lighting",
    "Sod",
    "Trimming",
    "Pest Control",
];
const CITY: &[&str] =
    &["Bayshore", "Half Moon Bay", "Tucson", "Middlefield", "San Mateo", "Zürich", "São Paulo", "東京"];
const STREET: &[&str] =
    &["Finch St.", "Ocean Dr.", "Court St.", "Main Rd.", "Straße des 17. Juni", "Avenue des Champs-Élysées"];
const NOTE: &[&str] = &[
    "Thank you for your business!",
    "Please pay within 30 days 🙏",
    "Lieferung frei Haus",
    "Second \"final\" notice",
    "a\\b\ttab",
];

/// Renders a record of an entity.
pub fn render(seed: u64, entity: &str, id: u64, version: &Version) -> String {
    let mut dice = Dice::new(seed, entity, id);
    let head = format!(
        "\"domain\":\"QBO\",\"sparse\":false,\"Id\":\"{id}\",\"SyncToken\":\"{}\",\"MetaData\":{{\"CreateTime\":\"{}\",\"LastUpdatedTime\":\"{}\"}}",
        version.number,
        pacific(version.created),
        pacific(version.updated)
    );
    match entity {
        "Invoice" | "Estimate" | "SalesReceipt" | "CreditMemo" => sale(&mut dice, &head, id, version),
        "Customer" | "Vendor" | "Employee" => person(&mut dice, &head, id, version),
        "Item" => item(&mut dice, &head, id, version),
        _ if crate::entity::is_list(entity) => list(&mut dice, &head, id, version),
        _ => transaction(&mut dice, &head, id, version),
    }
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn address(dice: &mut Dice) -> String {
    format!(
        "{{\"Id\":\"{}\",\"Line1\":{},\"City\":{},\"CountrySubDivisionCode\":\"CA\",\"PostalCode\":\"{:05}\",\"Lat\":\"{}.{}\",\"Long\":\"-{}.{}\"}}",
        dice.below(90_000),
        quote(&format!("{} {}", dice.below(9_999), dice.pick(STREET))),
        quote(dice.pick(CITY)),
        dice.below(99_999),
        dice.below(80),
        dice.below(9_999_999),
        dice.below(170),
        dice.below(9_999_999)
    )
}

fn day(seconds: i64) -> String {
    pacific(seconds).chars().take(10).collect()
}

fn sale(dice: &mut Dice, head: &str, id: u64, version: &Version) -> String {
    let lines = 3 + dice.below(8) + if dice.below(5) == 0 { dice.below(10) } else { 0 };
    let mut total = u64::from(version.number) * 100;
    let mut list = String::new();
    for line in 1..=lines {
        let (quantity, price) = (1 + dice.below(12), 100 + dice.below(90_000));
        total += quantity * price;
        let item = 1 + dice.below(200);
        list.push_str(&format!(
            "{{\"Id\":\"{line}\",\"LineNum\":{line},\"Description\":{},\"Amount\":{},\"DetailType\":\"SalesItemLineDetail\",\"SalesItemLineDetail\":{{\"ItemRef\":{{\"value\":\"{item}\",\"name\":{}}},\"UnitPrice\":{},\"Qty\":{quantity},\"ItemAccountRef\":{{\"value\":\"{}\",\"name\":\"Sales of Product Income\"}},\"TaxCodeRef\":{{\"value\":\"{}\"}}}}}},",
            quote(&format!("{} {:x}", dice.pick(GOODS), dice.roll())),
            money(quantity * price),
            quote(dice.pick(GOODS)),
            money(price),
            40 + dice.below(60),
            if dice.below(3) == 0 { "NON" } else { "TAX" },
        ));
    }
    let customer = 1 + dice.below(500);
    format!(
        "{{\"AllowIPNPayment\":false,\"AllowOnlinePayment\":false,\"AllowOnlineCreditCardPayment\":false,\"AllowOnlineACHPayment\":false,{head},\"CustomField\":[{{\"DefinitionId\":\"1\",\"Name\":\"Crew #\",\"Type\":\"StringType\",\"StringValue\":\"{}\"}}],\"DocNumber\":\"{}\",\"TxnDate\":\"{}\",\"CurrencyRef\":{{\"value\":\"USD\",\"name\":\"United States Dollar\"}},\"ExchangeRate\":1.{:06},\"LinkedTxn\":[],\"Line\":[{list}{{\"Amount\":{},\"DetailType\":\"SubTotalLineDetail\",\"SubTotalLineDetail\":{{}}}}],\"TxnTaxDetail\":{{\"TotalTax\":{}}},\"CustomerRef\":{{\"value\":\"{customer}\",\"name\":{}}},\"CustomerMemo\":{{\"value\":{}}},\"BillAddr\":{},\"ShipAddr\":{},\"DueDate\":\"{}\",\"TotalAmt\":{},\"ApplyTaxAfterDiscount\":false,\"PrintStatus\":\"NeedToPrint\",\"EmailStatus\":\"NotSet\",\"BillEmail\":{{\"Address\":\"customer{customer}@example.com\"}},\"Balance\":{},\"V4IDPseudonym\":\"{:016x}{:016x}\"}}",
        dice.below(99_999),
        1_000 + id,
        day(version.created),
        dice.below(999_999),
        money(total),
        money(total / 20),
        quote(&format!("{} {}", dice.pick(FIRST), dice.pick(LAST))),
        quote(dice.pick(NOTE)),
        address(dice),
        address(dice),
        day(version.created + 30 * 86_400),
        money(total),
        if version.number.is_multiple_of(2) { money(total) } else { "0".to_owned() },
        dice.roll(),
        dice.roll(),
    )
}

fn person(dice: &mut Dice, head: &str, id: u64, version: &Version) -> String {
    let (first, last) = (dice.pick(FIRST), dice.pick(LAST));
    let plain = format!("{first} {last}'s {} {id}", dice.pick(TRADE));
    let shown = if version.active { plain.clone() } else { format!("{plain} (deleted)") };
    format!(
        "{{\"Taxable\":{},\"BillAddr\":{},\"ShipAddr\":{},\"Job\":false,\"BillWithParent\":false,\"Balance\":{},\"BalanceWithJobs\":0,\"CurrencyRef\":{{\"value\":\"USD\",\"name\":\"United States Dollar\"}},\"PreferredDeliveryMethod\":\"Print\",{head},\"GivenName\":{},\"FamilyName\":{},\"FullyQualifiedName\":{},\"CompanyName\":{},\"DisplayName\":{},\"PrintOnCheckName\":{},\"Active\":{},\"PrimaryPhone\":{{\"FreeFormNumber\":\"(555) 555-{:04}\"}},\"PrimaryEmailAddr\":{{\"Address\":\"person{id}@example.com\"}},\"Notes\":{}}}",
        dice.below(2) == 0,
        address(dice),
        address(dice),
        money(dice.below(900_000) + u64::from(version.number) * 100),
        quote(first),
        quote(last),
        quote(&shown),
        quote(&plain),
        quote(&shown),
        quote(&plain),
        version.active,
        dice.below(9_999),
        quote(dice.pick(NOTE)),
    )
}

fn item(dice: &mut Dice, head: &str, id: u64, version: &Version) -> String {
    let plain = format!("{} {id}", dice.pick(GOODS));
    let shown = if version.active { plain.clone() } else { format!("{plain} (deleted)") };
    format!(
        "{{\"Name\":{},\"Sku\":\"SKU-{:06}\",\"Description\":{},\"Active\":{},\"FullyQualifiedName\":{},\"Taxable\":true,\"UnitPrice\":{},\"Type\":\"{}\",\"IncomeAccountRef\":{{\"value\":\"{}\",\"name\":\"Sales of Product Income\"}},\"PurchaseCost\":{},\"TrackQtyOnHand\":false,{head}}}",
        quote(&shown),
        dice.below(999_999),
        quote(&format!("{} {}", dice.pick(GOODS), dice.pick(NOTE))),
        version.active,
        quote(&shown),
        money(dice.below(90_000) + u64::from(version.number)),
        dice.pick(&["Service", "NonInventory", "Inventory", "Group"]),
        40 + dice.below(60),
        money(dice.below(60_000)),
    )
}

fn list(dice: &mut Dice, head: &str, id: u64, version: &Version) -> String {
    let plain = format!("{} {id}", dice.pick(GOODS));
    let shown = if version.active { plain } else { format!("{plain} (deleted)") };
    format!(
        "{{\"Name\":{},\"FullyQualifiedName\":{},\"Active\":{},\"CurrentBalance\":{},{head}}}",
        quote(&shown),
        quote(&shown),
        version.active,
        money(dice.below(9_000_000) + u64::from(version.number))
    )
}

fn transaction(dice: &mut Dice, head: &str, id: u64, version: &Version) -> String {
    format!(
        "{{\"DocNumber\":\"{}\",\"TxnDate\":\"{}\",\"TotalAmt\":{},\"CurrencyRef\":{{\"value\":\"USD\",\"name\":\"United States Dollar\"}},\"PrivateNote\":{},{head},\"Line\":[{{\"Id\":\"1\",\"Amount\":{},\"LinkedTxn\":[{{\"TxnId\":\"{}\",\"TxnType\":\"Invoice\"}}]}}]}}",
        1_000 + id,
        day(version.created),
        money(dice.below(900_000) + u64::from(version.number) * 100),
        quote(dice.pick(NOTE)),
        money(dice.below(900_000)),
        1 + dice.below(10_000),
    )
}
