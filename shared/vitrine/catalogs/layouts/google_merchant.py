"""The layout of a Google Merchant feed: `id`, `image_link` and `item_group_id`, with or without the prefix `g:`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from vitrine.catalogs.layouts.plain_table import PlainTable
from vitrine.catalogs.layouts.roles import Header, Roles, plain
from vitrine.catalogs.table import Table
from vitrine.products import AttributeKind

_TELLING: Final = frozenset(
    {
        "title", "link", "availability", "googleproductcategory", "producttype", "itemgroupid", "gtin", "condition",
        "additionalimagelink", "agegroup", "identifierexists", "mobilelink", "saleprice", "price", "brand", "mpn",
    }
)  # fmt: skip
_PICTURES: Final = ("imagelink", "additionalimagelink", "additionalimagelinks", "lifestyleimagelink")
_IGNORED: Final = frozenset({"identifierexists", "adult", "shipping", "tax", "mobilelink", "adsredirect"})
# Groups of several members, which say nothing of the product's look.
_IGNORED_GROUPS: Final = ("shipping.", "tax.", "installment.", "loyalty_program.", "product_detail.", "certification.")
_PREFIX: Final = "g:"


class GoogleMerchant(PlainTable):
    name = "google-merchant"
    reports_empty = False
    ignored = _IGNORED

    def __init__(self, table: Table, mapping: Mapping[str, str]) -> None:
        super().__init__(table, mapping)
        # Shops often keep the pictures on disk by id, under other names than on the web.
        self.by_id = True
        self._labels = {at: label for at, label in self._labels.items() if not label.startswith(_IGNORED_GROUPS)}
        self.kinds = dict.fromkeys(("price", "sale_price"), AttributeKind.DECIMAL)
        # A category may also be a number of Google's taxonomy.
        self.kinds |= dict.fromkeys(("google_product_category", "product_type"), AttributeKind.PATH)

    @staticmethod
    def fits(header: Header) -> bool:
        """Whether these are the columns of such a feed."""
        names = {plain(column) for column in header.columns}
        return {"id", "imagelink"} <= names and len(names & _TELLING) >= 2

    def usual_roles(self) -> Roles:
        header = self.header
        roles = super().usual_roles()
        pictures = [at for name in _PICTURES for at, column in enumerate(header.columns) if plain(column) == name]
        pictures = pictures or list(roles.pictures_at)
        id_at = roles.id_at if header.at("id") is None else header.at("id")
        labels: dict[int, str] = {}
        for at, column in enumerate(header.columns):
            name = "name" if plain(column) == "title" else column.strip().casefold().removeprefix(_PREFIX)
            name = name.replace(" ", "_")
            if at not in (id_at, header.at("itemgroupid"), *pictures) and name not in labels.values():
                labels[at] = name
        labels = {at: label for at, label in labels.items() if plain(label) not in self.ignored}
        return replace(
            roles,
            id_at=id_at,
            pictures_at=tuple(pictures),
            variant_at=header.at("itemgroupid"),
            labels=labels,
        )
