//! A layered drawing of a graph without cycles, left to right: where nodes lie and how edges run.
//!
//! Longest-path layers, stand-ins for edges that cross a layer, sweeps that order each layer by the
//! mean place of its neighbours, and places that follow them without overlap. The crates that
//! draw layers keep their stand-ins to themselves, so that an edge could not be led around the
//! nodes between its ends; and a page that is drawn anew every second has to be drawn alike.

/// What a drawing is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) node_width: f64,
    pub(crate) node_height: f64,
    /// Between layers.
    pub(crate) gap_x: f64,
    /// Between nodes of a layer.
    pub(crate) gap_y: f64,
}

/// A drawing; nodes and edges as they were given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Drawing {
    pub(crate) width: f64,
    pub(crate) height: f64,
    /// Upper left corners.
    pub(crate) nodes: Vec<(f64, f64)>,
    /// Points that each edge runs through, from the right of its source to the left of its target.
    pub(crate) edges: Vec<Vec<(f64, f64)>>,
}

/// Sweeps over the layers to order them; more change little.
const SWEEPS: usize = 12;
/// Sweeps that move nodes towards their neighbours.
const PULLS: usize = 16;
/// Room for an edge that crosses a layer, as a part of a node's height.
const STAND_IN: f64 = 0.4;

/// A node, or what stands in for an edge in a layer that it crosses.
#[derive(Debug, Clone, Default)]
struct Item {
    layer: usize,
    /// Those of the same group stay side by side.
    group: usize,
    height: f64,
    y: f64,
    before: Vec<usize>,
    after: Vec<usize>,
}

/// Draws `groups.len()` nodes, each with the number of its group; `edges` point from earlier to
/// later work and form no cycle.
pub(crate) fn draw(groups: &[usize], edges: &[(usize, usize)], sizes: Sizes) -> Drawing {
    let count = groups.len();
    let layer = layers(count, edges);
    let mut items: Vec<Item> = (0..count)
        .map(|node| Item { layer: layer[node], group: groups[node], height: sizes.node_height, ..Item::default() })
        .collect();
    // The chain of items of every edge.
    let mut chains = Vec::with_capacity(edges.len());
    for &(from, to) in edges {
        let mut chain = vec![from];
        for between in layer[from] + 1..layer[to] {
            let group = if groups[from] == groups[to] { groups[from] } else { usize::MAX };
            items.push(Item { layer: between, group, height: sizes.node_height * STAND_IN, ..Item::default() });
            chain.push(items.len() - 1);
        }
        chain.push(to);
        for pair in chain.windows(2) {
            items[pair[0]].after.push(pair[1]);
            items[pair[1]].before.push(pair[0]);
        }
        chains.push(chain);
    }
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); layer.iter().max().map_or(0, |last| last + 1)];
    for (index, item) in items.iter().enumerate() {
        rows[item.layer].push(index);
    }
    order(&mut rows, &items);
    place(&rows, &mut items, sizes.gap_y);
    finish(&items, &chains, count, rows.len(), sizes)
}

/// The longest way from a source to each node.
fn layers(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut after = vec![Vec::new(); count];
    let mut open = vec![0; count];
    for &(from, to) in edges {
        after[from].push(to);
        open[to] += 1;
    }
    let mut layer = vec![0; count];
    let mut ready: Vec<usize> = (0..count).filter(|node| open[*node] == 0).collect();
    while let Some(node) = ready.pop() {
        for &next in &after[node] {
            layer[next] = layer[next].max(layer[node] + 1);
            open[next] -= 1;
            if open[next] == 0 {
                ready.push(next);
            }
        }
    }
    layer
}

fn mean(of: &[usize], place: &[f64]) -> Option<f64> {
    (!of.is_empty()).then(|| of.iter().map(|index| place[*index]).sum::<f64>() / of.len() as f64)
}

/// Orders each layer by the mean place of the neighbours in the layer before, then after, and so on.
fn order(rows: &mut [Vec<usize>], items: &[Item]) {
    let mut place = vec![0.0; items.len()];
    let settle = |row: &[usize], place: &mut [f64]| {
        for (position, index) in row.iter().enumerate() {
            // Relative, so that a short layer and a long one can be compared.
            place[*index] = (position as f64 + 0.5) / row.len() as f64;
        }
    };
    for row in rows.iter() {
        settle(row, &mut place);
    }
    let last = rows.len().saturating_sub(1);
    for sweep in 0..SWEEPS {
        let forward = sweep % 2 == 0;
        for step in 0..rows.len() {
            let at = if forward { step } else { last - step };
            let row = &mut rows[at];
            let wish = |index: &usize| {
                let item = &items[*index];
                mean(if forward { &item.before } else { &item.after }, &place).unwrap_or(place[*index])
            };
            let mut wishes: Vec<(f64, usize)> = row.iter().map(|index| (wish(index), *index)).collect();
            keep_groups_together(&mut wishes, items);
            *row = wishes.into_iter().map(|(_, index)| index).collect();
            settle(row, &mut place);
        }
    }
}

/// Sorts by wish, where all of a group wish for the group's mean.
fn keep_groups_together(wishes: &mut [(f64, usize)], items: &[Item]) {
    let mut sums: std::collections::HashMap<usize, (f64, f64)> = std::collections::HashMap::new();
    for (wish, index) in wishes.iter() {
        let sum = sums.entry(items[*index].group).or_default();
        *sum = (sum.0 + wish, sum.1 + 1.0);
    }
    wishes.sort_by(|(wish_a, a), (wish_b, b)| {
        let of = |wish: f64, index: usize| match items[index].group {
            // In no group: each on its own.
            0 | usize::MAX => wish,
            group => sums[&group].0 / sums[&group].1,
        };
        of(*wish_a, *a)
            .total_cmp(&of(*wish_b, *b))
            .then(items[*a].group.cmp(&items[*b].group))
            .then(wish_a.total_cmp(wish_b))
            .then(a.cmp(b))
    });
}

/// Stacks each layer, then pulls every item towards the mean of its neighbours as far as its layer has room.
fn place(rows: &[Vec<usize>], items: &mut [Item], gap: f64) {
    let tall = |row: &[usize], items: &[Item]| {
        row.iter().map(|index| items[*index].height + gap).sum::<f64>() - if row.is_empty() { 0.0 } else { gap }
    };
    let tallest = rows.iter().map(|row| tall(row, items)).fold(0.0, f64::max);
    for row in rows {
        let mut y = (tallest - tall(row, items)) / 2.0;
        for index in row {
            items[*index].y = y;
            y += items[*index].height + gap;
        }
    }
    for pull in 0..PULLS {
        let forward = pull % 2 == 0;
        for step in 0..rows.len() {
            let row = &rows[if forward { step } else { rows.len() - 1 - step }];
            let wishes: Vec<f64> = row
                .iter()
                .map(|index| {
                    let item = &items[*index];
                    let near = match (forward, item.before.is_empty(), item.after.is_empty()) {
                        (true, false, _) | (false, false, true) => &item.before,
                        _ => &item.after,
                    };
                    let centre = |index: &usize| items[*index].y + items[*index].height / 2.0;
                    if near.is_empty() {
                        item.y
                    } else {
                        near.iter().map(centre).sum::<f64>() / near.len() as f64 - item.height / 2.0
                    }
                })
                .collect();
            fit(row, &wishes, items, gap);
        }
    }
    let top = items.iter().map(|item| item.y).fold(f64::INFINITY, f64::min);
    for item in items {
        item.y -= top;
    }
}

/// Puts a layer in its order as near to the wishes as can be without overlap: neighbours that
/// would overlap form a block that lies at the mean of its wishes.
fn fit(row: &[usize], wishes: &[f64], items: &mut [Item], gap: f64) {
    struct Block {
        sum: f64,
        count: f64,
        height: f64,
        members: Vec<usize>,
    }
    let mut blocks: Vec<Block> = Vec::new();
    for (index, wish) in row.iter().zip(wishes) {
        let mut block = Block { sum: *wish, count: 1.0, height: items[*index].height + gap, members: vec![*index] };
        while let Some(above) = blocks.last() {
            if above.sum / above.count + above.height <= block.sum / block.count {
                break;
            }
            let mut above = blocks.pop().expect("it was just looked at");
            // What the block below wishes for its top, told as a wish for the top of both.
            above.sum += block.sum - above.height * block.count;
            above.count += block.count;
            above.height += block.height;
            above.members.append(&mut block.members);
            block = above;
        }
        blocks.push(block);
    }
    for block in blocks {
        let mut y = block.sum / block.count;
        for index in block.members {
            items[index].y = y;
            y += items[index].height + gap;
        }
    }
}

fn finish(items: &[Item], chains: &[Vec<usize>], count: usize, layers: usize, sizes: Sizes) -> Drawing {
    let step = sizes.node_width + sizes.gap_x;
    let x = |item: &Item| item.layer as f64 * step;
    let middle = |item: &Item| item.y + item.height / 2.0;
    let edges = chains
        .iter()
        .map(|chain| {
            let mut points = Vec::with_capacity(chain.len() * 2);
            for (position, index) in chain.iter().enumerate() {
                let item = &items[*index];
                if position > 0 {
                    points.push((x(item), middle(item)));
                }
                if position + 1 < chain.len() {
                    points.push((x(item) + sizes.node_width, middle(item)));
                }
            }
            points
        })
        .collect();
    Drawing {
        width: (layers as f64 * step - sizes.gap_x).max(0.0),
        height: items.iter().map(|item| item.y + item.height).fold(0.0, f64::max),
        nodes: items[..count].iter().map(|item| (x(item), item.y)).collect(),
        edges,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes { node_width: 100.0, node_height: 20.0, gap_x: 50.0, gap_y: 10.0 };

    /// No two nodes overlap, and no edge runs over a node.
    #[track_caller]
    fn check(count: usize, edges: &[(usize, usize)]) -> Drawing {
        let drawing = draw(&vec![0; count], edges, SIZES);
        assert_eq!(drawing, draw(&vec![0; count], edges, SIZES), "drawn alike each time");
        for (a, (ax, ay)) in drawing.nodes.iter().enumerate() {
            assert!(*ax + 100.0 <= drawing.width + 0.1 && *ay + 20.0 <= drawing.height + 0.1);
            for (bx, by) in &drawing.nodes[a + 1..] {
                assert!(ax != bx || (ay - by).abs() >= 20.0, "{ay} and {by} overlap");
            }
            for points in &drawing.edges {
                for (x, y) in points {
                    let is_inside = *x > ax + 0.1 && *x < ax + 99.9 && *y > ay + 0.1 && *y < ay + 19.9;
                    assert!(!is_inside, "an edge enters a node at {x}, {y}");
                }
                for pair in points.windows(2) {
                    // A level stretch crosses a whole layer.
                    let crosses = (pair[0].0 - ax).abs() < 0.1 && (pair[1].0 - ax - 100.0).abs() < 0.1;
                    assert!(!crosses || pair[0].1 < *ay || pair[0].1 > ay + 20.0, "an edge crosses a node");
                }
            }
        }
        drawing
    }

    #[test]
    fn small_graphs() {
        assert_eq!(check(0, &[]).width, 0.0);
        assert_eq!(check(1, &[]).nodes, [(0.0, 0.0)]);
        let line = check(3, &[(0, 1), (1, 2)]);
        assert_eq!(line.nodes, [(0.0, 0.0), (150.0, 0.0), (300.0, 0.0)]);
        assert_eq!(line.edges[0], [(100.0, 10.0), (150.0, 10.0)]);
        // The long edge makes way for the node in the middle.
        let around = check(3, &[(0, 1), (1, 2), (0, 2)]);
        assert_eq!(around.edges[2].len(), 4);
        // A crossing that need not be.
        let straight = check(4, &[(0, 3), (1, 2)]);
        assert_eq!(straight.nodes[0].1 < straight.nodes[1].1, straight.nodes[3].1 < straight.nodes[2].1);
    }

    #[test]
    fn large_graphs() {
        let fan: Vec<_> = (1..200).flat_map(|node| [(0, node), (node, 200)]).collect();
        check(201, &fan);
        let ladder: Vec<_> =
            (0..300).flat_map(|n| [(n, n + 1), (n, n + 2 + n % 5)]).filter(|(_, to)| *to < 300).collect();
        check(300, &ladder);
    }
}
