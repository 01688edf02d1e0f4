"""Makes the shop's catalogue, shop/features/item.jsonl: 200 products of eight kinds. Owns what there is to buy; draws nothing.

Run in this folder: python catalogue.py. The same seed gives the same file, to the byte."""

import json
import random
from pathlib import Path

OUT = Path(__file__).parent.parent / "shop/features/item.jsonl"
SEED = 1931

# Each word names one product of each kind.
WORDS = (
    "Skerry Holm Fell Tarn Brae Carr Lund Rigg Dale Firth Strand Haven Combe Weald Heath Croft Ness Garth Beck Wick "
    "Thorpe Sedge Alder Rowan Hazel"
).split()

MAKERS = {"Ostler & Wren": 1.15, "Kilnside": 1.0, "Marram": 0.9, "Lowther Mill": 1.05, "Pike Street": 0.85, "Anvik": 1.3}

# Colour: its family, in which people have taste.
COLOURS = {
    "ink": "cool", "sky": "cool", "pine": "cool", "moss": "earth", "rust": "warm", "ochre": "warm", "clay": "warm",
    "rose": "warm", "plum": "cool", "oat": "neutral", "chalk": "neutral", "charcoal": "neutral", "walnut": "earth",
    "sage": "earth",
}
FAMILIES = ["warm", "cool", "earth", "neutral"]

# Kind: forms with their nouns and prices, materials, patterns, and what is said of it.
KINDS = {
    "shoes": {
        "forms": {"trainer": ("Trainer", 95), "boot": ("Boot", 165), "loafer": ("Loafer", 130), "sandal": ("Sandal", 75), "chelsea": ("Chelsea Boot", 150)},
        "materials": ["leather", "suede", "canvas", "nubuck"],
        "patterns": ["plain", "block", "stripe"],
        "says": ["Stitched, not glued, so a cobbler can give it a second sole.", "Broken in after one long walk, comfortable for the next thousand.", "A low, quiet shape that goes with everything above it."],
    },
    "knitwear": {
        "forms": {"crew": ("Crew", 110), "rollneck": ("Roll Neck", 125), "cardigan": ("Cardigan", 135), "vest": ("Slipover", 85)},
        "materials": ["lambswool", "merino", "cotton", "alpaca"],
        "patterns": ["plain", "stripe", "fairisle", "cable"],
        "says": ["Knitted in one piece, without side seams to rub.", "Warm without weight, and warmer in its second winter.", "Spun, dyed and knitted within forty miles."],
    },
    "jackets": {
        "forms": {"parka": ("Parka", 240), "chore": ("Chore Jacket", 145), "raincoat": ("Raincoat", 190), "quilted": ("Quilted Jacket", 175)},
        "materials": ["waxed cotton", "twill", "recycled nylon", "moleskin"],
        "patterns": ["plain", "block", "check"],
        "says": ["Deep pockets, a collar that turns up, no shine.", "Keeps out a wet morning and looks dry by lunch.", "Cut to go over a jumper and under nothing."],
    },
    "bags": {
        "forms": {"tote": ("Tote", 65), "backpack": ("Backpack", 120), "satchel": ("Satchel", 140), "weekender": ("Weekender", 185)},
        "materials": ["canvas", "bridle leather", "felt", "waxed cotton"],
        "patterns": ["plain", "block", "stripe", "check"],
        "says": ["Stands up on its own, as a bag should.", "One pocket where you look for it.", "The handles are sewn where the weight is."],
    },
    "hats": {
        "forms": {"beanie": ("Beanie", 38), "cap": ("Cap", 42), "bucket": ("Bucket Hat", 48), "brim": ("Felt Hat", 95)},
        "materials": ["lambswool", "corduroy", "cotton", "wool felt"],
        "patterns": ["plain", "stripe", "block", "check"],
        "says": ["Stays on in wind, folds into a pocket.", "For weather and for days without a haircut.", "Blocked by hand over a shape from 1931."],
    },
    "ceramics": {
        "forms": {"mug": ("Mug", 24), "vase": ("Vase", 58), "bowl": ("Bowl", 34), "jug": ("Jug", 46)},
        "materials": ["stoneware", "earthenware", "porcelain"],
        "patterns": ["plain", "dip", "stripe", "fleck"],
        "says": ["Thrown on a wheel; no two have quite the same lip.", "A glaze that pools where the hand goes.", "Goes into the dishwasher and does not mind."],
    },
    "lamps": {
        "forms": {"table": ("Table Lamp", 120), "pendant": ("Pendant", 140), "desk": ("Desk Lamp", 155), "globe": ("Globe Lamp", 98)},
        "materials": ["spun steel", "linen", "brass", "opal glass"],
        "patterns": ["plain", "stripe", "block"],
        "says": ["Warm light for one page or one plate.", "A switch that clicks as switches used to.", "Dims down to firelight."],
    },
    "chairs": {
        "forms": {"dining": ("Chair", 210), "stool": ("Stool", 115), "lounge": ("Lounge Chair", 420), "bench": ("Bench", 265)},
        "materials": ["ash", "oak", "beech", "walnut wood"],
        "patterns": ["plain", "stripe", "check"],
        "says": ["Jointed, pegged, and quiet when you lean back.", "Comfortable through the second pot of coffee.", "Light enough to move, heavy enough to stay."],
    },
}


def style(kind: str, family: str, price: float) -> list[float]:
    """Where a product lies in the space in which tastes are measured: kind, family of colour, how dear for its kind."""
    usual = sorted(price for _, price in KINDS[kind]["forms"].values())
    middle = sum(usual) / len(usual)
    one_of = lambda names, name, weight: [weight if name == each else 0.0 for each in names]
    return one_of(KINDS, kind, 1.0) + one_of(FAMILIES, family, 0.55) + [round(0.4 * max(-1.0, min(1.0, price / middle - 1)), 3)]


def main() -> None:
    chance = random.Random(SEED)
    rows = []
    for kind, about in KINDS.items():
        for at, word in enumerate(WORDS):
            form, (noun, base) = list(about["forms"].items())[at % len(about["forms"])]
            colour, accent = chance.sample(list(COLOURS), 2)
            maker = chance.choice(list(MAKERS))
            price = max(5, round(base * MAKERS[maker] * chance.uniform(0.8, 1.25)))
            material = chance.choice(about["materials"])
            # Rich patterns are rare, so that a shelf is calm.
            pattern = "plain" if chance.random() < 0.4 else chance.choice(about["patterns"])
            stock = 0 if chance.random() < 0.03 else 2 if chance.random() < 0.06 else chance.randint(6, 60)
            rows.append({
                "_key": f"{kind}-{at + 1:02}",
                "name": f"{word} {noun}",
                "says": about["says"][at % len(about["says"])],
                "maker": maker,
                "category": kind,
                "form": form,
                "colour": colour,
                "accent": accent,
                "family": COLOURS[colour],
                "material": material,
                "pattern": pattern,
                "season": chance.choices(["core", "new", "last"], [62, 26, 12])[0],
                "price": price,
                "margin": round(chance.uniform(0.22, 0.64), 2),
                "stock": stock,
                "popularity": round(chance.betavariate(2, 5), 3),
                "style": style(kind, COLOURS[colour], price),
            })
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{len(rows)} products in {OUT.name}, {sum(row['stock'] == 0 for row in rows)} of them sold out")


if __name__ == "__main__":
    main()
