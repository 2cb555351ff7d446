"""The layout of a WooCommerce product export: variable products, and variations that take what they lack from them.

A variation is a variant of its parent, and a parent with variations is not a product itself. `Attribute 1 name` names
the attribute whose values `Attribute 1 value(s)` lists. Products that the shop does not show are left out. A shop
exports in its own language: the columns are known in German, French, Spanish, Italian and Dutch too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from vitrine.catalogs.layouts.entry import Entry, Source, Value, fields_of
from vitrine.catalogs.layouts.plain_table import PlainTable
from vitrine.catalogs.layouts.roles import Header, Roles, plain
from vitrine.catalogs.table import Row, Table
from vitrine.products import AttributeKind

_TELLING: Final = frozenset(
    {
        "attribute1name", "attribute1values", "regularprice", "saleprice", "isfeatured", "instock", "parent", "images",
        "visibilityincatalog", "upsells", "crosssells", "groupedproducts", "taxstatus", "backordersallowed",
        "soldindividually", "categories", "downloadlimit",
    }
)  # fmt: skip
_LABELS: Final = {
    "sku": "sku", "name": "name", "categories": "category", "tags": "tags", "description": "description",
    "shortdescription": "shortDescription", "instock": "inStock", "stock": "stock", "regularprice": "regularPrice",
    "saleprice": "salePrice", "brands": "brand", "isfeatured": "featured",
}  # fmt: skip
_IGNORED: Final = frozenset(
    {
        "type", "published", "visibilityincatalog", "datesalepricestarts", "datesalepriceends", "taxstatus", "taxclass",
        "lowstockamount", "backordersallowed", "soldindividually", "allowcustomerreviews", "purchasenote",
        "shippingclass", "downloadlimit", "downloadexpirydays", "groupedproducts", "upsells", "crosssells",
        "externalurl", "buttontext", "position",
    }
)  # fmt: skip
_META: Final = "meta:"
_ATTRIBUTE_PART: Final = re.compile(r"attribute([0-9]{1,2})(?:name|values|visible|global|default)")
# Nom de l'attribut 1, Valeur(s) de l'attribut 1, Attribut 1 Wert(e), Nombre del atributo 1
_ATTRIBUTE_WORD: Final = re.compile(r"at{1,2}ribu(?:uts?|t[oei]?s?)")
_NAME_WORDS: Final = ("name", "nom", "naam")
_VALUE_WORDS: Final = ("value", "wert", "valeur", "valor", "waarde")
_ENGLISH: Final = {
    name: english
    for english, names in {
        "type": "typ tipo",
        "sku": "artikelnummer ugs cod códigosku",
        "name": "nom nombre nome naam",
        "published": "veröffentlicht publié publicado pubblicato gepubliceerd",
        "isfeatured": "isthervorgehoben misenavant estádestacado inprimopiano èinevidenza isuitgelicht",
        "visibilityincatalog": "sichtbarkeitimkatalog visibilitédanslecatalogue visibilidadenelcatálogo "
        "visibilitànelcatalogo zichtbaarheidincatalogus",
        "shortdescription": "kurzbeschreibung descriptioncourte descripcióncorta brevedescrizione kortebeschrijving",
        "description": "beschreibung descripción descrizione beschrijving",
        "datesalepricestarts": "datumandemangebotspreisbeginnt datededébutdepromo "
        "díaenqueempiezaelpreciorebajado datadiiniziodelprezzoinofferta",
        "datesalepriceends": "datumandemangebotspreisendet datedefindepromo díaenqueterminaelpreciorebajado "
        "datadifinedelprezzoinofferta",
        "taxstatus": "steuerstatus étatdelatva estadodelimpuesto statodelleimposte btwstatus belastingstatus",
        "taxclass": "steuerklasse classedetva clasedeimpuesto aliquotadiimposta btwtarief belastingklasse",
        "instock": "vorrätig auflager enstock existencias eninventario opvoorraad",
        "stock": "lager lagerbestand bestand inventario magazzino voorraad",
        "lowstockamount": "geringelagermenge montantdestockfaible cantidaddebajoinventario "
        "importoscortebasse lagevoorraad",
        "backordersallowed": "lieferrückständeerlaubt lieferrückstandeerlaubt "
        "autoriserlescommandesdeproduitsenrupture permitirreservasdeproductosagotados nabestellingentoestaan",
        "soldindividually": "nureinzelnverkaufen vendreindividuellement vendidoindividualmente "
        "wordtindividueelverkocht",
        "allowcustomerreviews": "kundenrezensionenerlauben autoriserlesavisclients permitirvaloracionesdeclientes "
        "abilitalerecensionideiclienti klantbeoordelingentoestaan",
        "purchasenote": "hinweiszumkauf notedecommande notadecompra notadiacquisto aankoopnotitie",
        "saleprice": "angebotspreis tarifpromo preciorebajado prezzoinofferta aanbiedingsprijs actieprijs",
        "regularprice": "regulärerpreis tarifrégulier precionormal prezzodilistino regulierprijs reguliereprijs",
        "categories": "kategorien catégories categorías categorie categorieën",
        "tags": "schlagwörter étiquettes etiquetas tag",
        "shippingclass": "versandklasse classedexpédition clasedeenvío classedispedizione verzendklasse",
        "images": "bilder imágenes immagini afbeeldingen",
        "downloadlimit": "limitedetéléchargement límitededescargas limitedidownload downloadlimiet",
        "downloadexpirydays": "ablauftagedesdownloads joursdexpirationdutéléchargement "
        "díasdecaducidaddeladescarga giorniscadenzadeldownload dagendownloadvervallen",
        "parent": "übergeordnetesprodukt übergeordnet superior genitore hoofdproduct hoofd bovenliggend",
        "groupedproducts": "gruppierteprodukte groupesdeproduits productosagrupados prodottiraggruppati "
        "gegroepeerdeproducten",
        "upsells": "zusatzverkäufe produitssuggérés ventasdirigidas upsell",
        "crosssells": "crosssellsquerverkäufe querverkäufe ventescroisées ventascruzadas crosssell",
        "externalurl": "externeurl urlexterne urlexterna urlesterno",
        "buttontext": "libellédubouton textodelbotón testodelpulsante knoptekst",
        "position": "posición posizione positie",
    }.items()
    for name in names.split()
}  # fmt: skip
# A comma inside a name is written with a backslash.
_COMMA: Final = re.compile(r"(?<!\\),")
_ID_PREFIX: Final = "id:"


@dataclass(slots=True)
class _Parents:
    """The rows that variations refer to, by id and by SKU; and the ids that some variation refers to."""

    by_reference: dict[str, tuple[Row, list[str]]] = field(default_factory=dict)
    referred: set[str] = field(default_factory=set)


class WooCommerce(PlainTable):
    name = "woocommerce"
    reports_empty = False
    ignored = _IGNORED

    def __init__(self, table: Table, mapping: Mapping[str, str]) -> None:
        super().__init__(table, mapping)
        at = self._place
        self.by_id = False
        self.kinds = {"category": AttributeKind.PATH, "tags": AttributeKind.KEYWORDS}
        self.kinds |= dict.fromkeys(("description", "shortDescription"), AttributeKind.TEXT)
        self.kinds |= dict.fromkeys(("price", "salePrice", "regularPrice"), AttributeKind.DECIMAL)
        parts = (_ATTRIBUTE_PART.fullmatch(_english(column)) for column in table.header)
        numbers = sorted({int(part[1]) for part in parts if part})
        self._attributes_at = [(at(f"attribute{n}name"), at(f"attribute{n}values")) for n in numbers]
        self._type_at, self._sku_at, self._published_at = at("type"), at("sku"), at("published")
        self._visibility_at = at("visibilityincatalog")
        self._attribute_labels: dict[str, str] = {}
        self._parents: _Parents | None = None
        self._labels = {
            place: label
            for place, label in self._labels.items()
            if not table.header[place].casefold().startswith(_META)
            and not _ATTRIBUTE_PART.fullmatch(_english(table.header[place]))
            and _english(table.header[place]) not in _IGNORED
        }
        self._has_price = "price" not in self._labels.values() and bool(
            {"salePrice", "regularPrice"} & set(self._labels.values())
        )

    @staticmethod
    def fits(header: Header) -> bool:
        """Whether these are the columns of such an export."""
        names = {_english(column) for column in header.columns}
        is_product = {"name", "images"} <= names or {"name", "categories"} <= names
        return is_product and bool(names & {"regularprice", "attribute1name"}) and len(names & _TELLING) >= 3

    def usual_roles(self) -> Roles:
        roles = super().usual_roles()
        images = self._place("images")
        labels: dict[int, str] = {}
        for at, column in enumerate(self.header.columns):
            if (label := _LABELS.get(_english(column))) and label not in labels.values():
                labels[at] = label
        return replace(
            roles,
            pictures_at=roles.pictures_at if images is None else (images,),
            variant_at=self._place("parent"),
            labels={at: label for at, label in labels.items() if at != roles.id_at},
        )

    def _place(self, name: str) -> int | None:
        """The position of a column by its English name, as from `plain`."""
        return next((at for at, column in enumerate(self.header.columns) if _english(column) == name), None)

    @property
    def labels(self) -> Mapping[str, Source]:
        price = {"price": Source("Sale price, Regular price", None)} if self._has_price else {}
        dynamic = {label: Source(f"Attribute {label!r}", None) for label in self._attribute_labels.values()}
        return {**super().labels, **price, **dynamic}

    def entries(self, table: Table) -> Iterator[Entry]:
        if self._parents is None:
            self._parents = self._found_parents(table)
        for row, fields in fields_of(table, None):
            if fields is None:
                yield Entry(Row(row.line, None, row.is_utf8), "")
                continue
            entry = self._entry(row, fields)
            if entry.variant_of is not None:
                self._complete(entry)
            elif entry.id in self._parents.referred:
                entry.has_variations = True
            yield entry

    def _found_parents(self, table: Table) -> _Parents:
        parents = _Parents()
        references = set()
        for row, fields in fields_of(table, None):
            if fields is None:
                continue
            if reference := _field(fields, self.roles.variant_at):
                references.add(_reference(reference))
            elif self._type_at is None or "variable" in _field(fields, self._type_at).casefold():
                for name in (_field(fields, self.roles.id_at), _field(fields, self._sku_at)):
                    if name:
                        parents.by_reference.setdefault(name, (row, fields))
        parents.by_reference = {name: parents.by_reference[name] for name in references & parents.by_reference.keys()}
        parents.referred = {_field(fields, self.roles.id_at) for _, fields in parents.by_reference.values()}
        return parents

    def _entry(self, row: Row, fields: Sequence[str]) -> Entry:
        entry = Entry(row, _field(fields, self.roles.id_at) or _field(fields, self._sku_at))
        for at, label in self._labels.items():
            if text := _field(fields, at):
                entry.values[label] = _listed(text) if label in ("category", "tags") else text
        for name_at, values_at in self._attributes_at:
            name, values = _field(fields, name_at), _field(fields, values_at)
            if name and values:
                entry.values[self._attribute_label(name)] = _listed(values)
        price = entry.values.get("salePrice") or entry.values.get("regularPrice")
        if self._has_price and price:
            entry.values["price"] = price
        for at in self.roles.pictures_at:
            if text := _field(fields, at):
                entry.references.append((self.header.columns[at], text))
        if reference := _field(fields, self.roles.variant_at):
            entry.variant_of = _reference(reference)
        entry.left_out = self._left_out(fields)
        return entry

    def _complete(self, entry: Entry) -> None:
        """Give a variation what it lacks of its parent."""
        assert self._parents is not None
        found = self._parents.by_reference.get(entry.variant_of or "")
        if found is None:
            return
        parent = self._entry(*found)
        entry.variant_of = parent.id
        own_price = "price" in entry.values
        for label, value in parent.values.items():
            if not (own_price and label in ("salePrice", "regularPrice")):
                entry.values.setdefault(label, value)
        entry.references = entry.references or parent.references
        entry.left_out = entry.left_out or parent.left_out

    def _attribute_label(self, name: str) -> str:
        key = name.casefold()
        if key not in self._attribute_labels:
            taken = {label.casefold() for label in (*self._labels.values(), "price")}
            label = f"{name}_attribute" if key in taken else name
            self._attribute_labels[key] = label
            self.kinds[label] = AttributeKind.KEYWORDS
        return self._attribute_labels[key]

    def _left_out(self, fields: Sequence[str]) -> str | None:
        published, visibility = _field(fields, self._published_at), _field(fields, self._visibility_at)
        if published in ("0", "-1"):
            return f"column 'Published' is {published!r}: {'private' if published == '0' else 'a draft'}"
        return "column 'Visibility in catalog' is 'hidden'" if visibility.casefold() == "hidden" else None


def _english(column: str) -> str:
    """The English name of a column, as from `plain`."""
    name = plain(column)
    if name in _ENGLISH:
        return _ENGLISH[name]
    number = re.search("[0-9]{1,2}", name)
    if number is None or not _ATTRIBUTE_WORD.search(name):
        return name
    rest = _ATTRIBUTE_WORD.sub("", name.replace(number[0], "", 1), count=1)
    if rest.startswith(_NAME_WORDS):
        return f"attribute{number[0]}name"
    return f"attribute{number[0]}{'values' if rest.startswith(_VALUE_WORDS) else 'visible'}"


def _field(fields: Sequence[str], at: int | None) -> str:
    return fields[at].strip() if at is not None and at < len(fields) else ""


def _listed(text: str) -> Value:
    parts = (part.replace("\\,", ",").strip() for part in _COMMA.split(text))
    return list(dict.fromkeys(part for part in parts if part))


def _reference(parent: str) -> str:
    return parent[len(_ID_PREFIX) :].strip() if parent.casefold().startswith(_ID_PREFIX) else parent
