//! What is printed, and written as JSON.

use std::time::Duration;

/// The results so far; printed as they come.
#[derive(Default)]
pub struct Table {
    head: String,
    rows: Vec<serde_json::Value>,
    missed: usize,
}

impl Table {
    /// Begins a part.
    pub fn head(&mut self, text: &str) {
        text.clone_into(&mut self.head);
        println!("\n{text}\n{:<72} {:>8} {:>15}  bound", "", "median", "spread");
    }

    /// A ratio: the median of its rounds, and what it should not pass.
    pub fn row(&mut self, name: &str, values: &[f64], bound: Option<f64>) {
        let (least, median, most) = summary(values);
        let kept = bound.is_none_or(|bound| median <= bound);
        self.missed += usize::from(!kept);
        let spread = if values.len() > 1 { format!("{least:.2} to {most:.2}") } else { String::new() };
        let bound_text = bound
            .map(|bound| format!("{bound:.2}{}", if kept { "" } else { "  MISSED" }))
            .unwrap_or_default();
        println!("{name:<72} {median:>8.3} {spread:>15}  {bound_text}");
        self.rows.push(serde_json::json!({
            "part": self.head, "name": name, "values": values, "median": median, "bound": bound, "kept": kept
        }));
    }

    /// A number that means something on this machine only.
    pub fn plain(&mut self, name: &str, values: &[f64]) {
        let (least, median, most) = summary(values);
        println!("{name:<72} {median:>8.0} {:>15}", format!("{least:.0} to {most:.0}"));
        self.rows
            .push(serde_json::json!({ "part": self.head, "name": name, "values": values, "median": median }));
    }

    /// Writes the JSON, and says how much was missed.
    pub fn finish(&self) {
        let path = std::env::var("BENCH_JSON").unwrap_or_else(|_| "target/bench.json".to_owned());
        std::fs::write(&path, serde_json::to_string_pretty(&self.rows).unwrap()).unwrap();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!(
            "\n{} of {} bounds missed, on {cores} cores; {path} has all rounds",
            self.missed,
            self.rows.len()
        );
    }
}

fn summary(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1])
}

/// Seconds that something takes.
pub fn timed(work: impl FnOnce()) -> f64 {
    let began = std::time::Instant::now();
    work();
    began.elapsed().max(Duration::from_micros(1)).as_secs_f64()
}
