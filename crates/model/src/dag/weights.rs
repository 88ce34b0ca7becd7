//! Effective priority weights: what a task's own weight and those around it add up to.

use petgraph::Direction;
use petgraph::graph::NodeIndex;

use super::{Dag, WeightRule};

impl Dag {
    /// Sums over transitive neighbours, each counted once. Reachability is kept as bit sets over a
    /// block of columns at a time, so that memory stays linear in the number of tasks.
    pub(super) fn priority_weights(&self) -> Vec<i64> {
        const WORDS: usize = 16;
        const BLOCK: usize = WORDS * 64;
        let own: Vec<i64> = self.spec.tasks.iter().map(|t| t.priority_weight).collect();
        let mut total = own.clone();
        for rule in [WeightRule::Downstream, WeightRule::Upstream] {
            if !self.spec.tasks.iter().any(|t| t.weight_rule == rule) {
                continue;
            }
            let toward = if rule == WeightRule::Downstream { Direction::Outgoing } else { Direction::Incoming };
            let order: Vec<usize> = match rule {
                WeightRule::Downstream => self.topological.iter().rev().copied().collect(),
                WeightRule::Upstream | WeightRule::Absolute => self.topological.clone(),
            };
            let mut reach = vec![[0_u64; WORDS]; own.len()];
            for start in (0..own.len()).step_by(BLOCK) {
                reach.fill([0; WORDS]);
                for &node in &order {
                    let mut set = [0_u64; WORDS];
                    for next in self.graph.neighbors_directed(NodeIndex::new(node), toward) {
                        let next = next.index();
                        for (word, other) in set.iter_mut().zip(&reach[next]) {
                            *word |= other;
                        }
                        if (start..start + BLOCK).contains(&next) {
                            set[(next - start) / 64] |= 1 << ((next - start) % 64);
                        }
                    }
                    if self.spec.tasks[node].weight_rule == rule {
                        total[node] = total[node].saturating_add(weigh(&set, &own[start..]));
                    }
                    reach[node] = set;
                }
            }
        }
        total
    }
}

fn weigh(set: &[u64], own: &[i64]) -> i64 {
    let mut sum = 0_i64;
    for (word_index, &word) in set.iter().enumerate() {
        let mut rest = word;
        while rest != 0 {
            sum = sum.saturating_add(own[word_index * 64 + rest.trailing_zeros() as usize]);
            rest &= rest - 1;
        }
    }
    sum
}
