"""The carrier codes that this Amazon takes, letter for letter.

A code that is not here is answered with 204 and its package never appears: what sellers met (models issue 5232).
Source: Amazon's feed schema amzn-base.xsd as other integrations quote it, read 2026-11-20; an excerpt.
"""

from __future__ import annotations

OTHER = "Other"

CARRIER_CODES: frozenset[str] = frozenset(
    {
        *("USPS", "UPS", "UPSMI", "UPS Mail Innovations", "UPS Freight"),
        *("FedEx", "FedEx SmartPost", "Fedex Freight", "FEDEX_JP"),
        *("DHL", "DHL Express", "DHL eCommerce", "DHL Global Mail", "DHL-Paket", "DHL Freight", "DHL Home Delivery"),
        *("OnTrac", "Lasership", "OSM", "Newgistics", "First Mile", "Asendia", "Canada Post", "PUROLATOR"),
        *("Estafeta", "Correios", "Total Express", "Royal Mail", "ROYAL_MAIL", "Parcelforce", "Yodel", "Hermes"),
        *("Hermes UK", "Hermes Logistik Gruppe", "DPD", "DPD Local", "DX Express", "Tuffnells", "Whistl", "UK MAIL"),
        *("APC-Overnight", "InPost", "Parcelhub", "AMZL", "AMZL_UK", "Amazon Shipping", "Deutsche Post", "GLS", "GO!"),
        *("Chronopost", "Colissimo", "Colis Prive", "COLIS PRIVE", "La Poste", "Mondial Relay", "Poste Italiane"),
        *("SDA", "BRT", "Nexive", "TNT", "TNTIT", "Seur", "Correos", "Correos Express", "MRW", "Nacex", "TIPSA"),
        *("CTTExpress", "Post NL", "BPOST", "PostNord", "Polish Post", "Aras Kargo", "MNG Kargo", "PTT Kargo"),
        *("Aramex", "Emirates Post", "BlueDart", "Delhivery", "DTDC", "India Post", "Ecom Express", "Xpressbees"),
        *("SagawaExpress", "SAGAWA", "YamatoTransport", "YAMATO", "Japan Post", "Seino", "NITTSU", "Australia Post"),
        *("Australia Post-ArticleId", "Australia Post-Consignment", "StarTrack-ArticleID", "Sendle", "SENDLE"),
        *("CouriersPlease", "Toll Global Express", "Singapore Post", "Ninjavan", "Qxpress", "China Post"),
        *("SF Express", "Yanwen", "Yun Express", "4PX", "Self Delivery", "Blue Package", OTHER),
    }
)
