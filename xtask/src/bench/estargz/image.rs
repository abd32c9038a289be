//! A whole image: what a second core brings.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use dunnage_inputs::{
    layout::{Layer, Layout, media},
    random::Random,
};

use super::{Bench, text};
use crate::{
    bench::table::{Goal, Row},
    inputs::{debian_root, pad},
    measure::{self, Cores, median_cost},
};

/// Bytes of content in each of the layers above the lowest one.
const UPPER: u64 = 40 << 20;

impl Bench<'_> {
    /// An image of five layers of gzip, converted on one core and on all of them.
    pub(super) fn image(&mut self) -> Result<()> {
        if !self.wanted("image", "convert five layers") {
            return Ok(());
        }
        let source = self.dir.join("five");
        if !source.join("index.json").is_file() {
            make(&source)?;
        }
        let from = format!("oci:{}:five", text(&source)?);
        let out = self.dir.join("five-lazy");
        let to = format!("oci:{}:five", text(&out)?);
        let args =
            ["convert", &from, &to, "--to", "estargz", "--codec", "libdeflate", "--level", "6", "--progress", "none"];
        let run = |cores| {
            if out.exists() {
                fs::remove_dir_all(&out).context("cannot remove the last image")?;
            }
            measure::run_with(&self.ours.dunnage, &args, std::process::Stdio::null(), cores)
        };
        // Once for nothing: the blobs come into memory.
        run(Cores::All)?;
        let (mut one, mut all) = (Vec::new(), Vec::new());
        for _ in 0..self.options.rounds {
            one.push(run(Cores::One)?);
            all.push(run(Cores::All)?);
        }
        let ratio = median_cost(&one).wall / median_cost(&all).wall;
        let row = |what: &str, figure: &str, costs, ratio, goal: Option<Goal>| Row {
            input: "image",
            what: what.to_owned(),
            figure: figure.to_owned(),
            cost: median_cost(costs),
            size: None,
            ratio,
            worked: None,
            goals: goal.into_iter().collect(),
        };
        self.table.push(row("convert five layers, one core", "image_one_core", &one, None, None));
        let goal = Goal::ratio(1.8, Some(ratio));
        self.table.push(row("convert five layers, all cores", "image_all_cores", &all, Some(ratio), goal));
        Ok(())
    }
}

/// A root file system with four layers over it.
fn make(layout: &Path) -> Result<()> {
    let lowest = match debian_root()? {
        Some(tar) => fs::read(&tar).with_context(|| format!("cannot read `{}`", tar.display()))?,
        None => upper(0)?,
    };
    let tars = [lowest, upper(1)?, upper(2)?, upper(3)?, upper(4)?];
    let mut made = Layout::create(layout);
    let layers: Vec<Layer> = tars.iter().map(|tar| made.layer(media::GZIP, tar)).collect();
    let image = made.image("amd64", &layers);
    made.tag("five", &image);
    Ok(())
}

/// Files of all sizes up to 2 MiB, of text.
fn upper(number: u64) -> Result<Vec<u8>> {
    let mut random = Random::new(0xf1fe + number);
    let mut out = Vec::new();
    let mut left = UPPER;
    while left > 0 {
        let len = (1_u64 << random.below(21)).saturating_add(random.below(1 << 12)).min(left);
        let name = format!("opt/layer{number}/{left:08}.txt");
        out.extend(dunnage_inputs::tarball::file_header(&name, len, 1_700_000_000));
        out.extend(random.text(usize::try_from(len)?));
        pad(&mut out, len)?;
        left -= len;
    }
    out.extend([0; 1024]);
    Ok(out)
}
