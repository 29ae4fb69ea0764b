//! Which entities there are, and how QuickBooks treats each (Intuit's API reference; recorded answers).

/// Entities that can be inactive: without a condition on Active a query gives active ones only.
const LISTS: &[&str] = &[
    "Account",
    "Budget",
    "Class",
    "CompanyCurrency",
    "Customer",
    "CustomerType",
    "Department",
    "Employee",
    "Item",
    "PaymentMethod",
    "TaxCode",
    "TaxRate",
    "Term",
    "Vendor",
];

/// Other lists, without Active.
const PLAIN_LISTS: &[&str] = &["TaxAgency"];

/// Transactions.
const TRANSACTIONS: &[&str] = &[
    "Bill",
    "BillPayment",
    "CreditCardPayment",
    "CreditMemo",
    "Deposit",
    "Estimate",
    "Invoice",
    "JournalEntry",
    "Payment",
    "Purchase",
    "PurchaseOrder",
    "RefundReceipt",
    "ReimburseCharge",
    "SalesReceipt",
    "TimeActivity",
    "Transfer",
    "VendorCredit",
];

/// Entities whose pages carry totalCount; the others were never seen with it.
const WITH_TOTAL: &[&str] = &[
    "Bill",
    "BillPayment",
    "Budget",
    "Class",
    "CompanyCurrency",
    "CreditCardPayment",
    "Deposit",
    "Invoice",
    "JournalEntry",
    "PurchaseOrder",
    "RefundReceipt",
    "ReimburseCharge",
    "TaxAgency",
    "TaxCode",
    "TaxRate",
    "Transfer",
    "VendorCredit",
];

/// The exact name for what a statement says; names are not case sensitive.
pub fn find(name: &str) -> Option<&'static str> {
    LISTS
        .iter()
        .chain(PLAIN_LISTS)
        .chain(TRANSACTIONS)
        .copied()
        .find(|known| known.eq_ignore_ascii_case(name))
}

/// Whether the entity is a list.
pub fn is_list(entity: &str) -> bool {
    has_active(entity) || PLAIN_LISTS.contains(&entity)
}

/// Whether it knows Active.
pub fn has_active(entity: &str) -> bool {
    LISTS.contains(&entity)
}

/// Whether its pages carry totalCount.
pub fn has_total(entity: &str) -> bool {
    WITH_TOTAL.contains(&entity)
}

/// The key of its list in an answer.
pub fn key(entity: &str) -> &str {
    if entity == "CreditCardPayment" { "CreditCardPaymentTxn" } else { entity }
}
