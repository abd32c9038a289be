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
    /// Bytes that were worked on, if speed is to be told.
    pub(crate) worked: Option<u64>,
    /// What was to be reached.
    pub(crate) goals: Vec<Goal>,
}

/// Something to reach, and what was.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    /// The figure that is compared with the limit, with its unit.
    pub(crate) what: &'static str,
    /// End of the figure's name.
    pub(crate) figure: &'static str,
    pub(crate) limit: f64,
    pub(crate) got: f64,
    /// Whether more is better.
    pub(crate) at_least: bool,
}

impl Goal {
    /// How many times faster than the reference ours has to be.
    pub(crate) fn ratio(limit: f64, ratio: Option<f64>) -> Option<Self> {
        ratio.map(|got| Self { what: "ratio", figure: "ratio", limit, got, at_least: true })
    }

    /// By how much larger than the reference's ours may be, in percent.
    pub(crate) fn size(limit: f64, ours: u64, theirs: Option<u64>) -> Option<Self> {
        let got = 100.0 * (ours as f64 / theirs? as f64 - 1.0);
        Some(Self { what: "% in size", figure: "size_percent", limit, got, at_least: false })
    }

    /// How fast ours has to be, where copying is all there is to do.
    pub(crate) fn of_copy(limit: f64, got: f64) -> Self {
        Self { what: "of a copy", figure: "of_copy", limit, got, at_least: true }
    }

    /// How much memory may be resident, in MiB.
    pub(crate) fn peak(limit: f64, cost: &Cost) -> Self {
        Self { what: "MiB peak", figure: "peak_reach", limit, got: cost.peak_mib(), at_least: false }
    }

    /// How many cores have to be busy.
    pub(crate) fn cores(limit: f64, cost: &Cost) -> Self {
        Self { what: "user/wall", figure: "cores_reach", limit, got: cost.cores(), at_least: true }
    }

    fn text(&self) -> String {
        let Self { what, limit, got, at_least, .. } = self;
        let is_met = if *at_least { got >= limit } else { got <= limit };
        let (sign, verdict) = (if *at_least { ">=" } else { "<=" }, if is_met { "reached" } else { "MISSED" });
        format!("{verdict}: {got:.2} {what}, to be {sign} {limit:.2}")
    }
}

/// All rows.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    pub(crate) fn push(&mut self, row: Row) {
        println!("{}", line(&row));
        self.0.push(row);
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
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
        for Row { figure, cost, size, ratio, worked, goals, .. } in &self.0 {
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
            if let Some(worked) = worked {
                figures.insert(format!("{figure}_mb_per_second"), round(speed(*worked, cost)));
            }
            for goal in goals {
                figures.insert(format!("{figure}_{}", goal.figure), round(goal.got));
            }
        }
        figures
    }
}

const HEAD: &str = "input    what                                        wall s   user s    sys s  u/wall   peak MiB        bytes   ratio    MB/s";

fn line(row: &Row) -> String {
    let Cost { wall, user, sys, .. } = row.cost;
    let size = row.size.map_or_else(|| "-".to_owned(), |size| size.to_string());
    let ratio = row.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    let (cores, peak) = (row.cost.cores(), row.cost.peak_mib());
    let speed = row.worked.map_or_else(|| "-".to_owned(), |worked| format!("{:.0}", speed(worked, &row.cost)));
    let goals: String = row.goals.iter().map(|goal| format!("  {}", goal.text())).collect();
    let Row { input, what, .. } = row;
    format!(
        "{input:<8} {what:<42} {wall:>7.3}  {user:>7.3}  {sys:>7.3}  {cores:>6.2}  {peak:>9.1} {size:>12}  {ratio:>6}  {speed:>6}{goals}"
    )
}

/// Millions of bytes per second.
fn speed(worked: u64, cost: &Cost) -> f64 {
    worked as f64 / 1e6 / cost.wall.max(1e-9)
}
