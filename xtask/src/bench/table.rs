//! Rows of measurements, as a table for people and as figures for files.

use std::collections::BTreeMap;

use crate::measure::Cost;

/// One thing measured on one side.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What went in.
    pub(crate) input: &'static str,
    /// What was done, and by whom.
    pub(crate) what: String,
    /// Start of the figures' names.
    pub(crate) figure: String,
    pub(crate) cost: Cost,
    /// Bytes that came out.
    pub(crate) size: Option<u64>,
    /// How many times faster than what it is compared with.
    pub(crate) ratio: Option<f64>,
}

/// All rows.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    pub(crate) fn push(&mut self, row: Row) {
        println!("{}", line(&row));
        self.0.push(row);
    }

    pub(crate) fn print(&self) {
        println!("\n{HEAD}");
        for row in &self.0 {
            println!("{}", line(row));
        }
        println!();
        for (name, value) in self.figures() {
            println!("figure {name}={value}");
        }
    }

    /// Every number measured, by name.
    pub(crate) fn figures(&self) -> BTreeMap<String, f64> {
        let mut figures = BTreeMap::new();
        for Row { figure, cost, size, ratio, .. } in &self.0 {
            let round = |value: f64| (value * 1000.0).round() / 1000.0;
            figures.insert(format!("{figure}_seconds"), round(cost.wall));
            figures.insert(format!("{figure}_cores"), round(cost.cores()));
            figures.insert(format!("{figure}_peak_mib"), round(cost.peak_mib()));
            if let Some(size) = size {
                figures.insert(format!("{figure}_bytes"), *size as f64);
            }
            if let Some(ratio) = ratio {
                figures.insert(format!("{figure}_ratio"), round(*ratio));
            }
        }
        figures
    }
}

const HEAD: &str = "input    what                                        wall s   user s    sys s  u/wall   peak MiB        bytes   ratio";

fn line(row: &Row) -> String {
    let Cost { wall, user, sys, .. } = row.cost;
    let size = row.size.map_or_else(|| "-".to_owned(), |size| size.to_string());
    let ratio = row.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    let (cores, peak) = (row.cost.cores(), row.cost.peak_mib());
    let Row { input, what, .. } = row;
    format!(
        "{input:<8} {what:<42} {wall:>7.3}  {user:>7.3}  {sys:>7.3}  {cores:>6.2}  {peak:>9.1} {size:>12}  {ratio:>6}"
    )
}
