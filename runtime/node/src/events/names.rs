//! The names of events: those of GA4's e-commerce reference. Owns which other names mean the same, and the names that are the
//! node's own.

/// Tells that a decision was made elsewhere; the records of this node's own decisions have a lane of their own.
pub const DECISION: &str = "$decision";
/// Tells that somebody saw what was decided.
pub const EXPOSURE: &str = "$exposure";
/// Tells what a decision brought.
pub const REWARD: &str = "$reward";

/// What Segment's page, screen and identify calls are called.
pub const PAGE: &str = "page_view";
/// The same of screens.
pub const SCREEN: &str = "screen_view";
/// The same of traits.
pub const IDENTIFY: &str = "identify";

/// Segment's names and GA4's for the same, sorted by Segment's: from Segment's "Spec: V2 Ecommerce Events" and the names of its
/// first version ("Viewed Product"), from its "Spec: B2B SaaS" for signing up and in; GA4's from Google's "Recommended
/// events". What GA4 has no event for is not here.
pub const SEGMENT: [(&str, &str); 27] = [
    ("Added Product", "add_to_cart"),
    ("Cart Shared", "share"),
    ("Cart Viewed", "view_cart"),
    ("Checkout Started", "begin_checkout"),
    ("Clicked Product", "select_item"),
    ("Clicked Promotion", "select_promotion"),
    ("Completed Order", "purchase"),
    ("Order Completed", "purchase"),
    ("Order Refunded", "refund"),
    ("Payment Info Entered", "add_payment_info"),
    ("Product Added", "add_to_cart"),
    ("Product Added to Wishlist", "add_to_wishlist"),
    ("Product Clicked", "select_item"),
    ("Product List Viewed", "view_item_list"),
    ("Product Removed", "remove_from_cart"),
    ("Product Shared", "share"),
    ("Product Viewed", "view_item"),
    ("Products Searched", "search"),
    ("Promotion Clicked", "select_promotion"),
    ("Promotion Viewed", "view_promotion"),
    ("Removed Product", "remove_from_cart"),
    ("Signed In", "login"),
    ("Signed Up", "sign_up"),
    ("Viewed Product", "view_item"),
    ("Viewed Product Category", "view_item_list"),
    ("Viewed Promotion", "view_promotion"),
    ("Wishlist Product Added to Cart", "add_to_cart"),
];

/// GA4's name for what Segment calls `name`; any other name stays as it is.
pub fn canonical(name: &str) -> &str {
    // All of Segment's begin with a capital: GA4's, the usual ones, are not looked up.
    if !name.as_bytes().first().is_some_and(u8::is_ascii_uppercase) {
        return name;
    }
    SEGMENT.binary_search_by_key(&name, |(segment, _)| segment).map_or(name, |at| SEGMENT[at].1)
}

/// Whether the node gives `name` a meaning of its own.
pub fn is_own(name: &str) -> bool {
    [DECISION, EXPOSURE, REWARD].contains(&name)
}

/// Whether `name` is kept for what the node may one day give a meaning.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with('$') && !is_own(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_names_are_ga4s() {
        assert!(SEGMENT.is_sorted_by(|(a, _), (b, _)| a < b), "the search needs the order");
        for (segment, ga4) in SEGMENT {
            assert_eq!(canonical(segment), ga4);
            assert_eq!(canonical(ga4), ga4);
        }
        for other in ["", "Product Rated", "product viewed", "view_item", "$reward"] {
            assert_eq!(canonical(other), other);
        }
    }

    #[test]
    fn every_name_is_in_the_documentation() {
        let page = include_str!("../../../../docs/events.md");
        for (segment, ga4) in SEGMENT {
            assert!(page.contains(&format!("| {segment} | `{ga4}` |")), "no row {segment} -> {ga4} in docs/events.md");
        }
    }

    #[test]
    fn only_the_nodes_own_names_begin_with_a_dollar() {
        let check = |name: &str, expected: bool| assert_eq!(is_reserved(name), expected, "{name}");
        for own in [DECISION, EXPOSURE, REWARD, "view_item", "a$b"] {
            check(own, false);
        }
        for other in ["$", "$rewards", "$Reward", "$identify"] {
            check(other, true);
        }
    }
}
