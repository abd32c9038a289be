//! Choosing some of many combinations, so that every two settings meet at least once.
//!
//! Most defects need one or two settings to show, hardly any needs three. So of several thousand combinations a few dozen
//! find nearly what all would.

use std::collections::BTreeSet;

/// One value of one factor, met with one value of another.
type Pair = ((usize, usize), (usize, usize));

/// Combinations of the values `0..sizes[i]` of each factor `i`, such that every pair of values that is together in some
/// allowed combination is in one of the result. The same for the same arguments.
pub(super) fn choose(sizes: &[usize], is_allowed: impl Fn(&[usize]) -> bool) -> Vec<Vec<usize>> {
    let mut all = every(sizes);
    all.retain(|values| is_allowed(values));
    let mut open: BTreeSet<Pair> = all.iter().flat_map(|values| pairs(values)).collect();
    let mut chosen = Vec::new();
    while !open.is_empty() {
        let gain = |values: &Vec<usize>| pairs(values).filter(|pair| open.contains(pair)).count();
        // The first of the best.
        let Some(best) = all.iter().rev().max_by_key(|values| gain(values)) else { break };
        for pair in pairs(best) {
            open.remove(&pair);
        }
        chosen.push(best.clone());
    }
    chosen
}

/// Every combination.
fn every(sizes: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for &size in sizes {
        let longer = |values: &Vec<usize>| {
            let values = values.clone();
            (0..size).map(move |value| [values.as_slice(), &[value]].concat())
        };
        all = all.iter().flat_map(longer).collect();
    }
    all
}

fn pairs(values: &[usize]) -> impl Iterator<Item = Pair> {
    let numbered = || values.iter().copied().enumerate();
    numbered().flat_map(move |a| numbered().filter(move |b| a.0 < b.0).map(move |b| (a, b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_is_met_and_few_combinations_do() {
        let sizes = [7, 4, 3, 3, 3];
        let chosen = choose(&sizes, |_| true);
        let met: BTreeSet<Pair> = chosen.iter().flat_map(|values| pairs(values)).collect();
        let expected: BTreeSet<Pair> = every(&sizes).iter().flat_map(|values| pairs(values)).collect();
        assert_eq!(met, expected);
        // The two largest factors alone need 28.
        assert!(chosen.len() <= 32, "{} of {}", chosen.len(), every(&sizes).len());
    }

    #[test]
    fn what_is_not_allowed_is_not_chosen() {
        let chosen = choose(&[2, 2, 2], |values| values != [1, 1, 0] && values != [1, 1, 1]);
        assert!(chosen.iter().all(|values| !values.starts_with(&[1, 1])), "{chosen:?}");
        assert!(chosen.len() >= 3, "{chosen:?}");
    }
}
