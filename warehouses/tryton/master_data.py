"""What a warehouse has before the first order comes: company, users, countries, carriers, products and their stock."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from orders_pipeline.sandbox.day.catalogue import PRODUCTS
from warehouses.tryton.rpc import Record, TrytonRpc

MODULES = (
    *("party", "company", "carrier", "stock", "stock_split", "stock_package", "stock_package_shipping"),
    *("stock_shipment_measurements", "stock_shipment_cost"),
)


@dataclass(frozen=True, slots=True)
class User:
    name: str
    password: str


# They open nothing but databases on this machine's loopback, each with invented orders.
ADMINISTRATOR = User("admin", "sandbox-administrator")
PIPELINE = User("pipeline", "sandbox-pipeline")
WORKER = User("worker", "sandbox-worker")

# The pipeline writes down who lives where, and asks for shipments and for their end; the worker does the rest.
GROUPS = {
    PIPELINE: ("Stock", "Party Administration"),
    WORKER: (
        *("Stock Administration", "Stock Force Assignment", "Stock Cancellation"),
        *("Party Administration", "Product Administration", "Carrier Administration"),
    ),
}
UNITS_IN_STOCK = 100_000
# What a carrier's product is called where nobody named a service.
NO_SERVICE = "Shipping"
# (name, service): the carrier's party and the product that is its service. Tryton knows no other place for a service.
CARRIERS = (
    *(("UPS", "Ground"), ("USPS", "Priority Mail"), ("USPS", "Ground Advantage"), ("FedEx", "Home Delivery")),
    *(("FedEx", "2Day"), ("OnTrac", "Ground"), ("Bluefin Couriers", "Same City")),
)
COUNTRIES = {
    "US": "United States",
    "CA": "Canada",
    "MX": "Mexico",
    "BR": "Brazil",
    "GB": "United Kingdom",
    "DE": "Germany",
    "FR": "France",
    "IT": "Italy",
    "ES": "Spain",
    "NL": "Netherlands",
    "BE": "Belgium",
    "SE": "Sweden",
    "PL": "Poland",
    "IE": "Ireland",
    "JP": "Japan",
    "AU": "Australia",
}
STATES = """
AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA RI SC
SD TN TX UT VT VA WA WV WI WY DC PR GU VI AS MP
"""


def fill(tryton: TrytonRpc) -> None:
    """Put all of it in, as the administrator of a database in which nothing was set up. Raises TrytonError."""
    company = _company(tryton)
    _users(tryton, company)
    _countries(tryton)
    for name, service in CARRIERS:
        carrier(tryton, name, service)
    tryton.create("stock.package.type", {"name": "Box"})
    for product in PRODUCTS:
        add_product(tryton, product.sku, product.title, product.price)
    count_stock(tryton, {product.sku: UNITS_IN_STOCK for product in PRODUCTS})


def add_product(tryton: TrytonRpc, sku: str, title: str, price: Decimal) -> int:
    """A product that can be stocked; its id."""
    return _product(tryton, "goods", title, sku, price)


def count_stock(tryton: TrytonRpc, counts: dict[str, int]) -> None:
    """Say how many units of each SKU lie in the storage zone, as a stock-taking finds."""
    zone = storage_zone(tryton)
    products = {one["code"]: one["id"] for one in tryton.search("product.product", [], ["code"]) if one["code"]}
    lines = [{"product": products[sku], "quantity": float(units)} for sku, units in counts.items()]
    inventory = tryton.create("stock.inventory", {"location": zone, "lines": [("create", lines)]})
    tryton.press("stock.inventory", "confirm", inventory)


def storage_zone(tryton: TrytonRpc) -> int:
    """The location in which what is sold lies."""
    (warehouse,) = tryton.search("stock.location", [("type", "=", "warehouse")], ["storage_location"])
    return warehouse["storage_location"]


def carrier(tryton: TrytonRpc, name: str, service: str | None) -> int:
    """The carrier of this name with this service, made where the warehouse had none; its id."""
    domain = [("party.name", "=", name), ("carrier_product.name", "=", service or NO_SERVICE)]
    if found := tryton.search("carrier", domain, ["id"]):
        return found[0]["id"]
    party = tryton.create("party.party", {"name": name})[0]
    product = _product(tryton, "service", service or NO_SERVICE, None, Decimal(0))
    return tryton.create("carrier", {"party": party, "carrier_product": product})[0]


def _product(tryton: TrytonRpc, kind: str, name: str, code: str | None, price: Decimal) -> int:
    (unit,) = tryton.search("product.uom", [("symbol", "=", "u")], ["id"])
    values: Record = {
        "name": name,
        "type": kind,
        "default_uom": unit["id"],
        "list_price": price,
        "products": [("create", [{"suffix_code": code}])],
    }
    template = tryton.create("product.template", values)
    return tryton.read("product.template", template, ["products"])[0]["products"][0]


def _company(tryton: TrytonRpc) -> int:
    dollar = {"name": "US Dollar", "code": "USD", "symbol": "$", "rounding": Decimal("0.01"), "digits": 2}
    currency = tryton.create("currency.currency", dollar)[0]
    party = tryton.create("party.party", {"name": "The Merchant"})[0]
    company = tryton.create("company.company", {"party": party, "currency": currency})[0]
    tryton.write("res.user", [tryton.user_id], {"companies": [("add", [company])], "company": company})
    tryton.login()
    return company


def _users(tryton: TrytonRpc, company: int) -> None:
    known = {group["name"]: group["id"] for group in tryton.search("res.group", [], ["name"])}
    for user, groups in GROUPS.items():
        values: Record = {
            "name": user.name,
            "login": user.name,
            "password": user.password,
            "companies": [("add", [company])],
            "company": company,
            "groups": [("add", [known[group] for group in groups])],
        }
        tryton.create("res.user", values)


def _countries(tryton: TrytonRpc) -> None:
    countries = [{"name": name, "code": code} for code, name in COUNTRIES.items()]
    ids = dict(zip(COUNTRIES, tryton.create("country.country", *countries), strict=True))
    states = [{"name": s, "code": f"US-{s}", "type": "state", "country": ids["US"]} for s in STATES.split()]
    tryton.create("country.subdivision", *states)
