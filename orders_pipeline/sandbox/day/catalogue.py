"""What the seller sells. Prices are strings, as money is everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Product:
    sku: str
    asin: str
    title: str
    price: Decimal
    customizable: bool = False


PRODUCTS: tuple[Product, ...] = tuple(
    Product(sku, asin, title, Decimal(price), customizable)
    for sku, asin, title, price, customizable in (
        ("MUG-STONE-350", "B0SANDBX01", "Stoneware Mug, 350 ml, Ash Grey", "14.90", False),
        ("LAMP-DESK-OAK", "B0SANDBX02", "Desk Lamp with Oak Base, Warm White", "59.00", False),
        ("TOWEL-SET-4", "B0SANDBX03", "Linen Tea Towels, Set of 4", "24.50", False),
        ("BOARD-WALNUT", "B0SANDBX04", "Walnut Cutting Board, Large", "44.99", True),
        ("CANDLE-FIG", "B0SANDBX05", "Fig Leaf Candle, 40 Hours", "19.95", False),
        ("FRAME-A4-BLK", "B0SANDBX06", "Picture Frame A4, Black", "12.00", True),
        ("KETTLE-ENAMEL", "B0SANDBX07", "Enamel Kettle, 1.5 l, Cream", "38.25", False),
        ("BLANKET-WOOL", "B0SANDBX08", "Merino Blanket, 130 x 180 cm", "129.00", False),
        ("KNIFE-PARING", "B0SANDBX09", "Paring Knife, 9 cm", "27.40", False),
        ("PLANTER-TERRA", "B0SANDBX10", "Terracotta Planter with Saucer, 20 cm", "16.75", False),
    )
)
