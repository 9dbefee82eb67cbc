//! Why two nodes are one profile: the shortest chain of joined links between them.

use std::collections::{BTreeMap, VecDeque};

use affluent_model::identity::{Link, LinkVerdict, NodeId};

/// The shortest chain of joined links from `a` to `b`, in walking order; empty when they are the same node, `None`
/// when no joined links connect them.
#[must_use]
pub fn explain(links: &[Link], a: NodeId, b: NodeId) -> Option<Vec<&Link>> {
    let neighbours = neighbours(links);
    let mut reached_by: BTreeMap<NodeId, Option<(&Link, NodeId)>> = BTreeMap::from([(a, None)]);
    let mut waiting = VecDeque::from([a]);
    while let Some(node) = waiting.pop_front() {
        if node == b {
            return Some(chain(&reached_by, b));
        }
        for (link, next) in neighbours.get(&node).into_iter().flatten() {
            if !reached_by.contains_key(next) {
                reached_by.insert(*next, Some((*link, node)));
                waiting.push_back(*next);
            }
        }
    }
    None
}

fn neighbours(links: &[Link]) -> BTreeMap<NodeId, Vec<(&Link, NodeId)>> {
    let mut neighbours: BTreeMap<NodeId, Vec<(&Link, NodeId)>> = BTreeMap::new();
    for link in links.iter().filter(|link| link.verdict == LinkVerdict::Joined) {
        neighbours.entry(link.node_a).or_default().push((link, link.node_b));
        neighbours.entry(link.node_b).or_default().push((link, link.node_a));
    }
    neighbours
}

fn chain<'a>(reached_by: &BTreeMap<NodeId, Option<(&'a Link, NodeId)>>, to: NodeId) -> Vec<&'a Link> {
    let mut chain = Vec::new();
    let mut node = to;
    while let Some(Some((link, before))) = reached_by.get(&node) {
        chain.push(*link);
        node = *before;
    }
    chain.reverse();
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(node_a: i64, node_b: i64, verdict: LinkVerdict) -> Link {
        Link { node_a: NodeId(node_a), node_b: NodeId(node_b), rule: "email".to_owned(), kind: 0, value: [0; 17], verdict }
    }

    #[test]
    fn the_shortest_chain_explains_why_two_nodes_are_one() {
        let joined = || LinkVerdict::Joined;
        let links = [link(1, 2, joined()), link(2, 3, joined()), link(3, 4, joined()), link(1, 3, joined())];

        let chain = explain(&links, NodeId(4), NodeId(1)).unwrap();

        assert_eq!(chain, [&links[2], &links[3]]);
    }

    #[test]
    fn a_node_needs_no_link_to_be_itself() {
        assert_eq!(explain(&[], NodeId(1), NodeId(1)), Some(Vec::new()));
    }

    #[test]
    fn a_refused_link_explains_nothing() {
        let links = [link(1, 2, LinkVerdict::Refused("too many".to_owned()))];

        assert_eq!(explain(&links, NodeId(1), NodeId(2)), None);
    }
}
