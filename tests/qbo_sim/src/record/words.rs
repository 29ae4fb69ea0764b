//! Words that records are made of: names and texts as real companies have them, with Unicode, quotes and backslashes.

pub const FIRST: &[&str] = &[
    "Amy", "Björn", "Chloé", "Dmitri", "Éva", "Fátima", "Grace", "Hiroshi", "Inês", "Jürgen", "Łukasz",
    "Zoë", "Sasha",
];
pub const LAST: &[&str] = &[
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
pub const TRADE: &[&str] = &[
    "Bird Sanctuary",
    "Windsurf Shop",
    "Basketball Camp",
    "Kookies",
    "Büromöbel",
    "Café & Bar",
    "花店",
    "Landscaping",
    "Imports",
    "Medical Supplies",
];
pub const GOODS: &[&str] = &[
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
    "Garden Rocks",
    "Half-inch \"PVC\" pipe",
];
pub const WORK: &[&str] = &[
    "Custom design of the front garden",
    "Installation of landscape design",
    "Weekly gardening service",
    "Concrete for fountain installation",
    "Réparation de l'arrosage automatique",
    "Lieferung frei Haus, 3 Stück",
    "Rock fountain 🪨",
    "Sod, 12\" × 24\"",
    "庭の手入れ",
];
pub const STREET: &[&str] = &[
    "Finch St.",
    "Ocean View Road",
    "Easy St.",
    "Main St.",
    "Straße des 17. Juni",
    "S. Boise Ave",
    "Avenue des Champs-Élysées",
];
pub const CITY: &[&str] = &[
    "Bayshore",
    "Half Moon Bay",
    "Tucson",
    "Middlefield",
    "San Mateo",
    "Palo Alto",
    "Zürich",
    "São Paulo",
    "東京",
];
pub const NOTE: &[&str] = &[
    "Thank you for your business and have a great day!",
    "Please pay within 30 days 🙏",
    "Vielen Dank für Ihren Auftrag",
    "Second \"final\" notice",
    "see \\\\server\\share\\scan.pdf",
    "Line one\nline two\ttabbed",
];
pub const TERM: &[&str] = &["Due on receipt", "Net 15", "Net 30", "Net 60"];
