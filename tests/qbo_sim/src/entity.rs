//! Which entities there are, and how QuickBooks treats each (Intuit's API reference; recorded answers). Pure data.

/// How an entity lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Never deleted, only made inactive; a query without a condition on Active gives active records only.
    List,
    /// A list that knows no Active.
    PlainList,
    /// Can be deleted, and is then gone from every query.
    Transaction,
}

/// One entity.
#[derive(Debug, PartialEq, Eq)]
pub struct Entity {
    pub name: &'static str,
    /// The key of its array in a QueryResponse.
    pub key: &'static str,
    pub kind: Kind,
    /// Whether its pages carry totalCount; where false, no page was ever seen with it.
    pub total: bool,
    /// Properties that can be filtered and sorted, beside Id, MetaData.* and what its kind always has; in lower case.
    filters: &'static [&'static str],
}

const fn list(name: &'static str, total: bool, filters: &'static [&'static str]) -> Entity {
    Entity { name, key: name, kind: Kind::List, total, filters }
}

const fn transaction(name: &'static str, total: bool, filters: &'static [&'static str]) -> Entity {
    Entity { name, key: name, kind: Kind::Transaction, total, filters }
}

const fn plain(name: &'static str, total: bool, filters: &'static [&'static str]) -> Entity {
    Entity { name, key: name, kind: Kind::PlainList, total, filters }
}

const PERSON: &[&str] = &["displayname", "givenname", "familyname", "printoncheckname", "primaryemailaddr"];
const CUSTOMER: &[&str] = &[
    "displayname",
    "givenname",
    "familyname",
    "companyname",
    "fullyqualifiedname",
    "balance",
    "printoncheckname",
];
const NAME: &[&str] = &["name", "fullyqualifiedname"];
const SALE: &[&str] = &["docnumber", "totalamt", "balance", "customerref", "duedate"];
const NUMBER: &[&str] = &["docnumber", "totalamt"];

/// All of them, by name.
pub const ENTITIES: &[Entity] = &[
    list(
        "Account",
        false,
        &["name", "fullyqualifiedname", "accounttype", "classification", "currentbalance"],
    ),
    transaction("Bill", true, &["docnumber", "totalamt", "balance", "vendorref", "duedate"]),
    transaction("BillPayment", true, &["docnumber", "totalamt", "vendorref"]),
    list("Budget", true, NAME),
    list("Class", true, NAME),
    list("CompanyCurrency", true, &["name", "code"]),
    Entity {
        name: "CreditCardPayment",
        key: "CreditCardPaymentTxn",
        kind: Kind::Transaction,
        total: true,
        filters: &[],
    },
    transaction("CreditMemo", false, SALE),
    list("Customer", false, CUSTOMER),
    list("CustomerType", false, NAME),
    list("Department", false, NAME),
    transaction("Deposit", true, &["totalamt"]),
    list("Employee", false, PERSON),
    transaction("Estimate", false, SALE),
    transaction("Invoice", true, SALE),
    list("Item", false, &["name", "fullyqualifiedname", "sku", "type", "unitprice"]),
    plain("JournalCode", true, &["name", "type"]),
    transaction("JournalEntry", true, NUMBER),
    transaction("Payment", false, &["totalamt", "customerref"]),
    list("PaymentMethod", false, &["name", "type"]),
    transaction("Purchase", false, &["docnumber", "totalamt", "paymenttype"]),
    transaction("PurchaseOrder", true, &["docnumber", "totalamt", "vendorref"]),
    transaction("RefundReceipt", true, SALE),
    transaction("ReimburseCharge", true, &["customerref"]),
    transaction("SalesReceipt", false, SALE),
    plain("TaxAgency", true, &["displayname"]),
    list("TaxCode", true, NAME),
    transaction("TaxPayment", true, &[]),
    list("TaxRate", true, &["name"]),
    list("Term", false, &["name"]),
    transaction("TimeActivity", false, &[]),
    transaction("Transfer", true, &[]),
    list("Vendor", false, CUSTOMER),
    transaction("VendorCredit", true, &["docnumber", "totalamt", "vendorref"]),
];

/// Names that exist in Intuit's schema and cannot be queried.
const NOT_QUERIED: &[&str] = &["TaxService", "TaxClassification", "Entitlements", "SalesOrder", "OtherName"];

/// Ids of CustomerType have 19 digits; theirs begin here.
const LONG_IDS: u64 = 5_000_000_000_000_003_465;

impl Entity {
    /// By what a statement says; names are not case sensitive.
    pub fn find(name: &str) -> Option<&'static Entity> {
        ENTITIES.iter().find(|entity| entity.name.eq_ignore_ascii_case(name))
    }

    /// Whether it exists and is not for queries.
    pub fn is_known_only(name: &str) -> bool {
        NOT_QUERIED.contains(&name)
    }

    /// Whether it knows Active.
    pub fn has_active(&self) -> bool {
        self.kind == Kind::List
    }

    /// The property that lists come ordered by when nothing else is asked.
    pub fn name_property(&self) -> &'static str {
        if self.filters.contains(&"displayname") { "DisplayName" } else { "Name" }
    }

    /// Whether a property, in lower case, can be filtered and sorted.
    pub fn can_filter(&self, property: &str) -> bool {
        match property {
            "id" | "metadata.createtime" | "metadata.lastupdatedtime" => true,
            "active" => self.has_active(),
            "txndate" => {
                self.kind == Kind::Transaction && !matches!(self.name, "ReimburseCharge" | "TaxPayment")
            }
            other => self.filters.contains(&other),
        }
    }

    /// The id of the n-th record. Ids are texts: most are small numbers, some are long, some are words.
    pub fn id(&self, number: u64) -> String {
        match (self.name, number) {
            ("TaxCode", 1) => "TAX".to_owned(),
            ("TaxCode", 2) => "NON".to_owned(),
            ("CustomerType", n) => (LONG_IDS + n).to_string(),
            (_, n) => n.to_string(),
        }
    }

    /// Which record has this id.
    pub fn number(&self, id: &str) -> Option<u64> {
        let number = match (self.name, id) {
            ("TaxCode", "TAX") => 1,
            ("TaxCode", "NON") => 2,
            ("CustomerType", id) => id.parse::<u64>().ok()?.checked_sub(LONG_IDS)?,
            (_, id) => id.parse().ok()?,
        };
        (number > 0 && self.id(number) == id).then_some(number)
    }

    /// Rows that are no real records and lack SyncToken, domain and Active.
    pub fn is_pseudo(&self, number: u64) -> bool {
        self.name == "TaxCode" && number <= 2
    }
}
