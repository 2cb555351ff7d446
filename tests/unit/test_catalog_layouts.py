"""The layouts of shops' exports: how their rows become products, pictures and variants."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vitrine.catalogs import Catalog, read_catalog
from vitrine.errors import CatalogMalformed, CatalogNotFound, ParameterInvalid
from vitrine.products import AttributeKind, Product

SHOPIFY = (
    "Handle,Title,Body (HTML),Vendor,Type,Tags,Published,Option1 Name,Option1 Value,Option2 Name,Option2 Value,"
    "Variant SKU,Variant Price,Variant Barcode,Image Src,Image Position,Variant Image,Cost per item,Status\n"
)
WOOCOMMERCE = (
    "ID,Type,SKU,Name,Published,In stock?,Sale price,Regular price,Categories,Tags,Images,Parent,"
    "Attribute 1 name,Attribute 1 value(s),Attribute 2 name,Attribute 2 value(s),Meta: _x\n"
)


def folder(root: Path, table: str, *pictures: str, name: str = "products.csv") -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(table, encoding="utf-8")
    for picture in pictures:
        path = root / picture
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def read(root: Path, table: str, *pictures: str, name: str = "products.csv", **options: object) -> Catalog:
    catalog = read_catalog("folder", folder(root, table, *pictures, name=name), dataset="shop", **options)  # type: ignore[arg-type]
    assert catalog.rows == len(catalog.products) + len(catalog.rejected())
    return catalog


def layout_of(catalog: Catalog) -> str:
    assert catalog.reading is not None
    return catalog.reading.layout


def by_id(catalog: Catalog) -> dict[str, Product]:
    return {product.id: product for product in catalog.products}


def kinds(catalog: Catalog) -> list[str]:
    return [issue.kind for issue in catalog.issues]


class TestShopify:
    def test_the_rows_of_a_handle_are_one_product(self, tmp_path: Path) -> None:
        table = SHOPIFY + (
            'dress,Linen dress,<p>Loose &amp; light</p>,North,Dresses,"summer, linen",TRUE,Size,S,Color,Red,D-S,'
            "49.90,'4006,https://cdn.example.com/s/b.jpg?v=1,2,,20,active\n"
            "dress,,,,,,,,M,,Blue,D-M,45.00,,https://cdn.example.com/s/a.jpg?v=2,1,"
            "https://cdn.example.com/s/blue.jpg,20,\n"
            "dress,,,,,,,,,,,,,,https://cdn.example.com/s/c.jpg,3,,,\n"
            "scarf,Scarf,,North,Scarves,,TRUE,Title,Default Title,,,S-1,9.00,,https://cdn.example.com/s/d.jpg,1,,4,active\n"
        )
        catalog = read(tmp_path, table, *(f"images/{name}.jpg" for name in ("a", "b", "c", "d", "blue")))
        dress, scarf = catalog.products
        assert layout_of(catalog) == "shopify"
        assert dress.pictures == ("images/a.jpg", "images/b.jpg", "images/c.jpg", "images/blue.jpg")
        assert dress.attributes == {
            "name": "Linen dress",
            "description": "Loose & light",
            "vendor": "North",
            "articleType": "Dresses",
            "tags": ["summer", "linen"],
            "Size": ["S", "M"],
            "Color": ["Red", "Blue"],
            "sku": ["D-S", "D-M"],
            "price": 45.0,
            "barcode": ["4006"],
        }
        assert scarf.attributes == {
            "name": "Scarf", "vendor": "North", "articleType": "Scarves", "sku": ["S-1"], "price": 9.0,
        }  # fmt: skip
        assert (catalog.rows, catalog.further_rows) == (2, 2)
        assert catalog.kinds["Size"] is AttributeKind.KEYWORDS
        assert catalog.kinds["price"] is AttributeKind.DECIMAL

    def test_rows_of_a_handle_far_apart_are_joined(self, tmp_path: Path) -> None:
        row = "{0},{1},,N,Dresses,,TRUE,Size,{2},,,{0}-{2},9,,https://x.example/{3}.jpg,1,,,active\n"
        rows = (("a", "A", "S", "a"), ("b", "B", "S", "b"), ("a", "", "M", "c"))
        catalog = read(tmp_path, SHOPIFY + "".join(row.format(*one) for one in rows), "a.jpg", "b.jpg", "c.jpg")
        assert by_id(catalog)["a"].pictures == ("a.jpg", "c.jpg")
        assert by_id(catalog)["a"].attributes["sku"] == ["a-S", "a-M"]
        assert not catalog.issues

    def test_renamed_columns_of_ids_and_pictures_are_named(self, tmp_path: Path) -> None:
        header = SHOPIFY.replace("Handle", "id").replace("Image Src", "image")
        row = "dress,Dress,,N,Dresses,,TRUE,Size,S,,,D-S,9,,https://x.example/a.jpg,1,,,active\n"
        catalog = read(tmp_path, header + row + "dress,,,,,,,,,,,,,,https://x.example/b.jpg,2,,,\n", "a.jpg", "b.jpg")
        assert layout_of(catalog) == "shopify"
        assert catalog.products[0].pictures == ("a.jpg", "b.jpg")
        assert [issue.detail.split(",")[0] for issue in catalog.issues] == [
            "Handle: 'id' is used instead",
            "Image Src: 'image' is used instead",
        ]

    def test_the_form_of_the_export_with_other_names_is_read(self, tmp_path: Path) -> None:
        table = (
            "Title,URL handle,Description,Vendor,Type,Published on online store,Status,SKU,Option1 name,Option1 value,"
            "Price,Compare-at price,Product image URL,Image position,Variant image URL\n"
            "Dress,dress,Light,N,Dresses,TRUE,Active,D-S,Size,S,9.50,12,https://x.example/a.jpg,1,\n"
            ",dress,,,,,,D-M,,M,9.50,,,,\n"
        )
        (product,) = read(tmp_path, table, "a.jpg").products
        assert product.id == "dress"
        assert product.attributes["Size"] == ["S", "M"]
        assert product.attributes["compareAtPrice"] == 12.0

    @pytest.mark.parametrize(("published", "status"), [("TRUE", "draft"), ("TRUE", "archived"), ("FALSE", "active")])
    def test_products_that_the_shop_does_not_show_are_left_out(
        self, tmp_path: Path, published: str, status: str
    ) -> None:
        rows = (
            f"hidden,Dress,,N,Dresses,,{published},,,,,D,9,,https://x.example/a.jpg,1,,,{status}\n"
            "hidden,,,,,,,,,,,,,,https://x.example/c.jpg,2,,,\n"
            "shown,Dress,,N,Dresses,,TRUE,,,,,E,9,,https://x.example/b.jpg,1,,,active\n"
        )
        catalog = read(tmp_path, SHOPIFY + rows, "a.jpg", "b.jpg", "c.jpg")
        assert list(by_id(catalog)) == ["shown"]
        assert [(issue.kind, issue.product_id) for issue in catalog.rejected()] == [("not_shown", "hidden")]

    def test_the_columns_can_be_read_as_they_are(self, tmp_path: Path) -> None:
        row = "dress,Dress,,N,Dresses,,FALSE,Size,S,,,D-S,9,,https://x.example/a.jpg,1,,,draft\n"
        root = folder(tmp_path, SHOPIFY + row, "a.jpg")
        catalog = read_catalog("table", root, dataset="shop")
        assert layout_of(catalog) == "table"
        assert catalog.products[0].attributes["Status"] == "draft"


class TestWooCommerce:
    def test_variations_take_what_they_lack_from_their_parent(self, tmp_path: Path) -> None:
        table = WOOCOMMERCE + (
            '44,variable,tee,"Tee",1,1,,,"Clothing > T-shirts, Clothing > Sale",cotton,'
            '"https://x.example/u/a.jpg, https://x.example/u/b.jpg",,Color,"Blue, Red",Material,Cotton,1\n'
            "45,variation,tee-blue,Tee - Blue,1,1,15,20,,,https://x.example/u/blue.jpg,id:44,Color,Blue,,,1\n"
            "46,variation,tee-red,,1,1,,20,,,,tee,Color,Red,,,1\n"
            "47,simple,cap,Cap,1,0,,12,Accessories,,https://x.example/u/cap.jpg,,,,,,1\n"
        )
        names = ("a", "b", "blue", "cap")
        catalog = read(tmp_path, table, *(f"uploads/2017/12/{name}.jpg" for name in names))
        products = by_id(catalog)
        assert layout_of(catalog) == "woocommerce"
        assert list(products) == ["45", "46", "47"]
        assert products["45"].pictures == ("uploads/2017/12/blue.jpg",)
        assert products["46"].pictures == ("uploads/2017/12/a.jpg", "uploads/2017/12/b.jpg")
        assert [products[one].variant_of for one in ("45", "46", "47")] == ["44", "44", None]
        assert products["46"].attributes["name"] == "Tee"
        assert products["46"].attributes["category"] == ["Clothing > T-shirts", "Clothing > Sale"]
        assert products["46"].attributes["Color"] == ["Red"]
        assert products["46"].attributes["Material"] == ["Cotton"]
        assert products["45"].attributes["price"] == 15.0
        assert products["46"].attributes["price"] == 20.0
        assert catalog.kinds["category"] is AttributeKind.PATH
        assert (catalog.rows, catalog.further_rows) == (3, 1)

    def test_a_variable_product_without_variations_is_a_product_with_all_its_pictures(self, tmp_path: Path) -> None:
        table = WOOCOMMERCE + (
            '44,variable,tee,Tee,1,1,,20,Clothing,,"https://x.example/a.jpg, https://x.example/b.jpg",,Color,'
            '"Blue, Red",,,1\n'
        )
        (product,) = read(tmp_path, table, "u/a.jpg", "u/b.jpg").products
        assert product.pictures == ("u/a.jpg", "u/b.jpg")
        assert product.attributes["Color"] == ["Blue", "Red"]

    def test_a_variation_before_its_parent_finds_it(self, tmp_path: Path) -> None:
        table = WOOCOMMERCE + (
            "45,variation,tee-blue,,1,1,,,,,,id:44,Color,Blue,,,1\n"
            "44,variable,tee,Tee,1,1,,20,Clothing,,a.jpg,,Color,Blue,,,1\n"
        )
        (product,) = read(tmp_path, table, "a.jpg").products
        assert (product.id, product.attributes["name"], product.attributes["price"]) == ("45", "Tee", 20.0)

    def test_drafts_are_left_out_with_their_variations(self, tmp_path: Path) -> None:
        table = WOOCOMMERCE + (
            "44,variable,tee,Tee,-1,1,,20,Clothing,,a.jpg,,Color,Blue,,,1\n"
            "45,variation,tee-blue,,1,1,,,,,,id:44,Color,Blue,,,1\n"
            "46,simple,cap,Cap,0,1,,9,Caps,,a.jpg,,,,,,1\n"
            "47,simple,hat,Hat,1,1,,9,Hats,,a.jpg,,,,,,1\n"
        )
        catalog = read(tmp_path, table, "a.jpg")
        assert list(by_id(catalog)) == ["47"]
        assert [issue.kind for issue in catalog.rejected()] == ["not_shown", "not_shown"]


class TestGoogleMerchant:
    TABLE = (
        "id\ttitle\tlink\timage link\tadditional image link\tprice\titem group id\tproduct type\n"
        "SKU-1\tJacket\thttps://x.example/p/1\thttps://x.example/i/1.jpg\thttps://x.example/i/1b.jpg,"
        "https://x.example/i/1c.jpg\t49.95 EUR\tJ\tClothing > Jackets\n"
        "SKU-2\tJacket\thttps://x.example/p/2\thttps://x.example/i/2.jpg\t\t59.95 EUR\tJ\tClothing > Jackets\n"
    )

    def test_groups_are_variants_and_prices_have_a_currency(self, tmp_path: Path) -> None:
        catalog = read(tmp_path, self.TABLE, "i/1.jpg", "i/1b.jpg", "i/1c.jpg", "i/2.jpg", name="feed.tsv")
        first, second = catalog.products
        assert layout_of(catalog) == "google-merchant"
        assert first.pictures == ("i/1.jpg", "i/1b.jpg", "i/1c.jpg")
        assert (first.variant_of, second.variant_of) == ("J", "J")
        assert (first.attributes["price"], first.attributes["priceCurrency"]) == (49.95, "EUR")
        assert catalog.kinds["product_type"] is AttributeKind.PATH

    def test_the_prefix_of_the_feed_is_ignored(self, tmp_path: Path) -> None:
        table = (
            "g:id\tg:title\tg:image_link\tg:price\tg:item_group_id\tg:color\n1\tCap\thttps://x/1.jpg\t5 EUR\t\tRed\n"
        )
        (product,) = read(tmp_path, table, "1.jpg", name="feed.tsv").products
        assert product.attributes == {"name": "Cap", "price": 5.0, "priceCurrency": "EUR", "color": "Red"}

    def test_pictures_that_are_kept_by_id_are_found(self, tmp_path: Path) -> None:
        catalog = read(tmp_path, self.TABLE, "images/SKU-1.jpg", "images/SKU-2.jpg", name="feed.tsv")
        assert [product.picture for product in catalog.products] == ["images/SKU-1.jpg", "images/SKU-2.jpg"]
        assert kinds(catalog) == ["missing_further_picture"] * 2


class TestResearchLayouts:
    def test_articles_keep_their_zeros_and_are_variants_of_their_product(self, tmp_path: Path) -> None:
        (tmp_path / "customers.csv").write_text("customer_id,age\nc1,40\n")
        (tmp_path / "transactions_train.csv").write_text("t_dat,customer_id,article_id,price\n2018-09-20,c1,01,0.05\n")
        table = (
            "article_id,product_code,prod_name,product_type_name,colour_group_name\n"
            "0108775015,0108775,Top,Vest top,Black\n0108775044,0108775,Top,Vest top,White\n"
            "110065001,0110065,Bra,Bra,Black\n"
        )
        pictures = ("images/010/0108775015.jpg", "images/010/0108775044.jpg", "images/011/0110065001.jpg")
        catalog = read(tmp_path, table, *pictures, name="articles.csv")
        assert layout_of(catalog) == "hm"
        assert list(by_id(catalog)) == ["0108775015", "0108775044", "110065001"]
        assert [product.picture for product in catalog.products] == list(pictures)
        assert [product.variant_of for product in catalog.products] == ["0108775", "0108775", None]
        assert catalog.products[0].attributes == {"name": "Top", "articleType": "Vest top", "baseColour": "Black"}

    def test_an_image_folder_is_read_with_its_split(self, tmp_path: Path) -> None:
        table = "file_name,text,label\ntrain/0.png,a shirt,shirts\ntest/0.png,a dress,dresses\ntrain/1.png,a cap,caps\n"
        catalog = read(tmp_path, table, "train/0.png", "test/0.png", "train/1.png", name="metadata.csv")
        assert layout_of(catalog) == "imagefolder"
        assert list(by_id(catalog)) == ["train/0", "test/0", "1"]
        assert [product.attributes["split"] for product in catalog.products] == ["train", "test", "train"]

    def test_an_image_folder_may_have_a_table_for_each_split(self, tmp_path: Path) -> None:
        for split in ("train", "test"):
            lines = [{"file_name": f"{number}.png", "label": split} for number in range(2)]
            folder(tmp_path, "\n".join(map(json.dumps, lines)), name=f"{split}/metadata.jsonl")
        folder(tmp_path, "", "train/0.png", "train/1.png", "test/0.png", "test/1.png", name="README.md")
        catalog = read_catalog("folder", tmp_path, dataset="shop")
        assert layout_of(catalog) == "imagefolder"
        assert {product.id: product.picture for product in catalog.products} == {
            f"{split}/{number}": f"{split}/{number}.png" for split in ("test", "train") for number in range(2)
        }

    def test_folders_of_pictures_need_no_table(self, tmp_path: Path) -> None:
        pictures = ("dresses/midi/1.JPG", "dresses/maxi/1.jpg", "shoes/2.png", ".hidden/3.jpg", "shoes/notes.docx")
        root = folder(tmp_path, "", *pictures, name="README")
        catalog = read_catalog("folder", root, dataset="shop")
        assert layout_of(catalog) == "pictures"
        assert {product.id: product.attributes for product in catalog.products} == {
            "dresses/midi/1": {"category": "dresses > midi"},
            "dresses/maxi/1": {"category": "dresses > maxi"},
            "2": {"category": "shoes"},
        }
        assert catalog.kinds == {"category": AttributeKind.PATH}

    def test_settings_beside_folders_of_pictures_are_no_table(self, tmp_path: Path) -> None:
        root = folder(tmp_path, '{"version": 1}', "shoes/1.jpg", "shoes/drawing.html", name="config.json")
        assert list(by_id(read_catalog("folder", root, dataset="shop"))) == ["1"]

    @pytest.mark.parametrize("reader", ["shopify", "woocommerce", "google-merchant", "hm", "imagefolder", "table"])
    def test_a_layout_can_be_forced_on_other_columns(self, tmp_path: Path, reader: str) -> None:
        catalog = read_catalog(reader, folder(tmp_path, "sku,image\n7,a.jpg\n", "a.jpg"), dataset="shop")
        assert layout_of(catalog) == reader
        assert {product.id: product.picture for product in catalog.products} == {"7": "a.jpg"}

    def test_pictures_of_one_name_in_one_folder_keep_their_suffix(self, tmp_path: Path) -> None:
        root = folder(tmp_path, "", "images/a.jpg", "images/a.png", "images/b.jpg", name="README")
        catalog = read_catalog("pictures", root, dataset="shop")
        assert list(by_id(catalog)) == ["images/a.jpg", "images/a.png", "b"]
        assert catalog.products[2].attributes == {}


class TestSeveralPictures:
    @pytest.mark.parametrize(
        ("table", "found"),
        [
            ("id,image,colour\n1,a.jpg,red\n1,b.jpg,red\n1,c.jpg,red\n", "abc"),
            ("id,image\n1,a.jpg|b.jpg|c.jpg\n", "abc"),
            ('id,image\n1,"a.jpg, b.jpg,c.jpg"\n', "abc"),
            ("id,image\n1,a.jpg;b.jpg ; c.jpg\n", "abc"),
            ("id,image\n1,a.jpg b.jpg c.jpg\n", "abc"),
            ("id,image\n1,a|b|c\n", "abc"),
            ('id,images\n1,"[""a.jpg"", ""b.jpg"", ""c.jpg""]"\n', "abc"),
            ("id,images\n1,\"['a.jpg', 'b.jpg']\"\n", "ab"),
            (
                'id,image\n1,"https://x.example/i/a.jpg,https://x.example/i/b.jpg https://x.example/w_3,h_2/c.jpg"\n',
                "abc",
            ),
            ('id,image\n1,"https://x.example/i/a.jpg, b.jpg"\n', "ab"),
            ("id,image2,image1,image3\n1,b.jpg,a.jpg,c.jpg\n", "abc"),
            ("id,additional images,image\n1,b.jpg|c.jpg,a.jpg\n", "abc"),
            ("id,image_url,image_url_2\n1,a.jpg,\n", "a"),
            ("id,image\n1,a.jpg|a.jpg|b.jpg\n", "ab"),
        ],
    )
    def test_the_pictures_of_a_product_are_found_in_order(self, tmp_path: Path, table: str, found: str) -> None:
        (product,) = read(tmp_path, table, "images/a.jpg", "images/b.jpg", "images/c.jpg").products
        assert product.pictures == tuple(f"images/{name}.jpg" for name in found)

    def test_a_file_name_may_have_a_separator(self, tmp_path: Path) -> None:
        table = 'id,image\n1,"shirt, blue.jpg"\n2,"red;1.jpg|b.jpg"\n3,"tee, gone.jpg"\n'
        catalog = read(tmp_path, table, "shirt, blue.jpg", "red;1.jpg", "b.jpg")
        assert [product.pictures for product in catalog.products] == [("shirt, blue.jpg",), ("red;1.jpg", "b.jpg")]
        assert "'tee, gone.jpg'" in catalog.rejected()[0].detail

    def test_rows_far_apart_are_one_product_even_under_a_limit(self, tmp_path: Path) -> None:
        table = "id,image\n1,a.jpg\n2,b.jpg\n3,d.jpg\n1,c.jpg\n"
        root = folder(tmp_path, table, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
        whole = read_catalog("folder", root, dataset="shop")
        limited = read_catalog("folder", root, dataset="shop", limit=2)
        assert by_id(whole)["1"].pictures == by_id(limited)["1"].pictures == ("a.jpg", "c.jpg")
        assert list(by_id(limited)) == ["1", "2"]

    def test_the_first_row_gives_the_values_and_others_are_reported(self, tmp_path: Path) -> None:
        table = "id,image,colour,fit\n1,a.jpg,red,\n1,b.jpg,blue,slim\n"
        catalog = read(tmp_path, table, "a.jpg", "b.jpg")
        assert catalog.products[0].attributes == {"colour": "red", "fit": "slim"}
        (issue,) = (issue for issue in catalog.issues if issue.kind == "differing_value")
        assert (issue.line, issue.detail) == (3, "colour is 'blue' here and 'red' in line 2")

    @pytest.mark.parametrize("second", ["a.jpg", "", "images/a.jpg"])
    def test_a_row_without_another_picture_is_a_duplicate(self, tmp_path: Path, second: str) -> None:
        catalog = read(tmp_path, f"id,image\n1,a.jpg\n1,{second}\n", "images/a.jpg")
        assert [(issue.kind, issue.line) for issue in catalog.rejected()] == [("duplicate_id", 3)]

    def test_a_missing_further_picture_leaves_the_product(self, tmp_path: Path) -> None:
        catalog = read(tmp_path, "id,image\n1,a.jpg|gone.jpg\n2,gone.jpg|b.jpg\n3,lost.jpg\n3,c.jpg\n", *"abc", "a.jpg",
                       "b.jpg", "c.jpg")  # fmt: skip
        assert [product.pictures for product in catalog.products] == [("a.jpg",), ("b.jpg",), ("c.jpg",)]
        assert kinds(catalog) == ["missing_further_picture"] * 3
        assert "column 'image' is 'gone.jpg': looked for" in catalog.issues[0].detail

    def test_a_picture_that_is_missing_is_kept_as_a_link_for_a_download(self, tmp_path: Path) -> None:
        table = "id,image\n1,https://x.example/a.jpg|https://x.example/b.jpg\n2,c.jpg\n"
        catalog = read(tmp_path, table, "b.jpg", keeps_link=lambda _: True)
        assert catalog.products[0].pictures == ("https://x.example/a.jpg", "b.jpg")
        assert [issue.product_id for issue in catalog.rejected()] == ["2"]


class TestIds:
    IDS = ("0012", "12", "A/12", "Ä-4711", "12.0", "1.23E+12", "x y", "#5", "50%off", "q?a=1", "a&b", "😀",
           "9007199254740993", "a.b", "null", "NA", "a\\b", "2-Jan")  # fmt: skip

    def test_ids_are_kept_as_text_and_are_distinct(self, tmp_path: Path) -> None:
        table = "id,image\n" + "".join(f"{one},p{number}.jpg\n" for number, one in enumerate(self.IDS))
        catalog = read(tmp_path, table, *(f"p{number}.jpg" for number in range(len(self.IDS))))
        assert tuple(by_id(catalog)) == self.IDS
        assert {issue.product_id for issue in catalog.issues if issue.kind == "spreadsheet_id"} == {
            "12.0", "1.23E+12", "2-Jan",
        }  # fmt: skip
        assert not catalog.rejected()

    def test_decimals_among_other_texts_are_no_fault(self, tmp_path: Path) -> None:
        catalog = read(tmp_path, "id\n1.0\nv1.0\n", "1.0.jpg", "v1.0.jpg")
        assert not catalog.issues

    @pytest.mark.parametrize("column", ["SKU", "Item ID", "article_id", "Artikel-Nr.", "EAN", "handle", "Code", "g:id"])
    @pytest.mark.parametrize("picture", ["Photo", "image_url", "Image Link", "img", "file_name", "Thumbnail", "Bild"])
    def test_usual_names_of_columns_are_known(self, tmp_path: Path, column: str, picture: str) -> None:
        catalog = read(tmp_path, f'"{column}",Product name,"{picture}"\n07,Cap,a.jpg\n', "images/a.jpg")
        assert by_id(catalog)["07"].picture == "images/a.jpg"
        assert by_id(catalog)["07"].attributes == {"name": "Cap"}

    @pytest.mark.parametrize("column", ["variantOf", "parent_id", "Group ID", "item_group_id", "Parent SKU"])
    def test_variants_are_grouped_in_any_table(self, tmp_path: Path, column: str) -> None:
        table = f"id,{column}\n1,\n2,1\n3,G\n4,G\n5,alone\n6,\n"
        catalog = read(tmp_path, table, *(f"{number}.jpg" for number in range(1, 7)))
        groups = {product.id: product.variant_of for product in catalog.products}
        assert groups == {"1": "1", "2": "1", "3": "G", "4": "G", "5": None, "6": None}


class TestMapping:
    TABLE = "Ref no,Photo A,Photo B,Cost,Line\n7,a.jpg,b.jpg,5,x\n8,c.jpg,,6.5,x\n"

    def test_columns_can_be_named(self, tmp_path: Path) -> None:
        mapping = {"id": "ref no", "picture": "Photo A,Photo B", "price": "Cost", "variantOf": "Line"}
        catalog = read(tmp_path, self.TABLE, "a.jpg", "b.jpg", "c.jpg", mapping=mapping)
        first, second = catalog.products
        assert (first.id, first.pictures, first.variant_of) == ("7", ("a.jpg", "b.jpg"), "x")
        assert (first.attributes, second.attributes) == ({"price": 5.0}, {"price": 6.5})
        assert catalog.mapping == mapping

    def test_an_unknown_column_is_named_with_the_likeliest(self, tmp_path: Path) -> None:
        root = folder(tmp_path, self.TABLE, "a.jpg")
        with pytest.raises(ParameterInvalid, match=r"no column 'Photo-Aa'; the likeliest is 'Photo A'"):
            read_catalog("folder", root, dataset="shop", mapping={"picture": "Photo-Aa"})

    def test_a_layout_of_fixed_columns_takes_no_mapping(self, tmp_path: Path) -> None:
        with pytest.raises(ParameterInvalid, match="fixed columns"):
            read_catalog("fashion-product", folder(tmp_path, "id\n1\n"), mapping={"id": "x"})

    def test_the_column_of_a_layout_can_be_changed(self, tmp_path: Path) -> None:
        row = "dress,Dress,,N,Dresses,,TRUE,,,,,D-S,9,,https://x.example/a.jpg,1,,,active\n"
        catalog = read(tmp_path, SHOPIFY + row, "a.jpg", mapping={"id": "Variant SKU", "brand": "Vendor"})
        assert by_id(catalog)["D-S"].attributes["brand"] == "N"
        assert layout_of(catalog) == "shopify"

    def test_a_table_can_be_chosen(self, tmp_path: Path) -> None:
        folder(tmp_path, "id,image\n1,a.jpg\n", name="monday.csv")
        folder(tmp_path, "id,image\n2,a.jpg\n", "a.jpg", name="tuesday.csv")
        with pytest.raises(CatalogMalformed, match=r"monday\.csv, tuesday\.csv.*--map table=monday\.csv"):
            read_catalog("folder", tmp_path, dataset="shop")
        catalog = read_catalog("folder", tmp_path, dataset="shop", mapping={"table": "tuesday.csv"})
        assert list(by_id(catalog)) == ["2"]

    def test_the_table_with_the_columns_of_a_catalogue_is_chosen(self, tmp_path: Path) -> None:
        folder(tmp_path, "id,order,total\n1,7,9\n", name="orders.csv")
        folder(tmp_path, "just notes\nmore of them\n", name="notes.txt")
        catalog = read(tmp_path, "sku,photo\n2,a.jpg\n", "a.jpg", name="export.csv")
        assert list(by_id(catalog)) == ["2"]


class TestReasons:
    def reason(self, root: Path, table: str, *pictures: str) -> str:
        with pytest.raises(CatalogMalformed) as refused:
            read(root, table, *pictures)
        return str(refused.value)

    def test_links_without_files_say_how_to_download(self, tmp_path: Path) -> None:
        text = self.reason(tmp_path, "id,image\n1,https://x.example/a.jpg\n2,https://x.example/b.jpg\n", "c.jpg")
        assert "2 rows and no usable product (2 missing_picture)" in text
        assert f"vitrine index --dataset NAME --model MODEL --root {tmp_path} --download" in text
        assert "line 2: column 'image' is 'https://x.example/a.jpg'" in text

    def test_pictures_that_no_column_names_say_how_to_name_it(self, tmp_path: Path) -> None:
        text = self.reason(tmp_path, "id,Shot\n1,a.jpg\n", "a.jpg")
        assert "--map picture=" in text
        assert "there is 'a.jpg'" in text

    def test_a_folder_without_pictures_says_so(self, tmp_path: Path) -> None:
        assert f"there is no picture below {tmp_path}" in self.reason(tmp_path, "id,image\n1,a.jpg\n")

    def test_a_table_without_ids_lists_its_columns(self, tmp_path: Path) -> None:
        text = self.reason(tmp_path, "brand,Shot url,price\nMaru,a.jpg,5\n", "a.jpg")
        assert "it has 'brand', 'Shot url', 'price'" in text
        assert f"vitrine catalog inspect {tmp_path} --map id=brand --map picture='Shot url'" in text

    def test_empty_ids_say_which_column_was_used(self, tmp_path: Path) -> None:
        text = self.reason(tmp_path, "id,SKU,image\n,7,a.jpg\n,8,b.jpg\n", "a.jpg", "b.jpg")
        assert "the column 'id' has no usable ids" in text
        assert "--map id=SKU" in text

    def test_a_table_of_one_column_asks_for_a_delimiter(self, tmp_path: Path) -> None:
        assert "has one column" in self.reason(tmp_path, "Summer catalogue\nMaru\n", "a.jpg")

    def test_a_shop_that_shows_nothing_says_how_to_use_its_products(self, tmp_path: Path) -> None:
        row = "dress,Dress,,N,Dresses,,TRUE,,,,,D-S,9,,https://x.example/a.jpg,1,,,draft\n"
        text = self.reason(tmp_path, SHOPIFY + row, "a.jpg")
        assert "the shop shows none of them" in text
        assert "--reader table" in text

    def test_a_header_without_rows_says_so(self, tmp_path: Path) -> None:
        assert "it has a header and no rows" in self.reason(tmp_path, "id,image\n", "a.jpg")

    def test_a_spreadsheet_is_to_be_saved_as_csv(self, tmp_path: Path) -> None:
        (tmp_path / "shop.xlsx").touch()
        with pytest.raises(CatalogNotFound, match=r"save shop\.xlsx as products\.csv"):
            read_catalog("folder", tmp_path, dataset="shop")

    def test_a_file_instead_of_a_folder_is_explained(self, tmp_path: Path) -> None:
        folder(tmp_path, "id\n1\n", "1.jpg", name="shop.csv")
        with pytest.raises(CatalogNotFound, match=r"--map table=shop\.csv"):
            read_catalog("folder", tmp_path / "shop.csv", dataset="shop")


def test_rows_that_are_no_products_decide_no_kind(tmp_path: Path) -> None:
    table = "sku,image,price\nA,a.jpg,59.00\n,,[ADD]2\nB,b.jpg,49.00\n"
    catalog = read(tmp_path, table, "a.jpg", "b.jpg")
    assert catalog.kinds == {"price": AttributeKind.DECIMAL}


def test_a_flat_file_with_two_headers_is_read_by_the_second(tmp_path: Path) -> None:
    table = (
        "TemplateType=custom\tVersion=2021.1014\tThe top 3 rows are for the marketplace only.\t\t\n"
        "Seller SKU\tProduct Name\tMain Image URL\tOther Image URL1\tParent SKU\n"
        "item_sku\titem_name\tmain_image_url\tother_image_url1\tparent_sku\n"
        "P-Red\tShirt, red\thttps://m.example/a.jpg\thttps://m.example/b.jpg\tP\n"
        "P-Blue\tShirt, blue\thttps://m.example/b.jpg\t\tP\n"
    )
    catalog = read(tmp_path, table, "a.jpg", "b.jpg", name="flat.txt")
    assert [(one.id, one.pictures, one.variant_of) for one in catalog.products] == [
        ("P-Red", ("a.jpg", "b.jpg"), "P"),
        ("P-Blue", ("b.jpg",), "P"),
    ]


@pytest.mark.parametrize(
    "columns",
    [
        "ID,Typ,Artikelnummer,Name,Veröffentlicht,Vorrätig?,Angebotspreis,Regulärer Preis,Kategorien,Schlagwörter,"
        "Bilder,Übergeordnetes Produkt,Attribut 1 Name,Attribut 1 Wert(e),Attribut 1 Sichtbar",
        "ID,Type,UGS,Nom,Publié,En stock ?,Tarif promo,Tarif régulier,Catégories,Étiquettes,Images,Parent,"
        "Nom de l\u2019attribut 1,Valeur(s) de l\u2019attribut 1 ,Attribut 1 visible",
        "ID,Tipo,SKU,Nombre,Publicado,¿Existencias?,Precio rebajado,Precio normal,Categorías,Etiquetas,"
        "Imágenes,Superior,Nombre del atributo 1,Valor(es) del atributo 1,Atributo visible 1",
    ],
)
def test_a_woocommerce_export_in_another_language_is_read(tmp_path: Path, columns: str) -> None:
    table = f"{columns}\n" + (
        '10,variable,tee,Tee,1,1,,,"Shirts, Shirts > Tees",new,https://s.example/tee.jpg,,Size,"S, M",1\n'
        "11,variation,tee-s,Tee S,1,0,,20,,,,tee,Size,S,\n"
        "12,variation,tee-m,Tee M,1,1,15,20,,,https://s.example/m.jpg,id:10,Size,M,\n"
        "13,simple,draft,Draft,-1,1,,5,,,https://s.example/m.jpg,,,,\n"
    )
    catalog = read(tmp_path, table, "tee.jpg", "m.jpg")
    assert layout_of(catalog) == "woocommerce"
    small, medium = catalog.products
    assert (small.id, small.picture, small.variant_of) == ("11", "tee.jpg", "10")
    assert (medium.id, medium.picture, medium.variant_of) == ("12", "m.jpg", "10")
    assert medium.attributes == {
        "sku": "tee-m", "name": "Tee M", "inStock": True, "salePrice": 15.0, "regularPrice": 20.0, "price": 15.0,
        "category": ["Shirts", "Shirts > Tees"], "tags": ["new"], "Size": ["M"],
    }  # fmt: skip


def test_row_numbers_of_pandas_are_no_attribute(tmp_path: Path) -> None:
    catalog = read(tmp_path, ",product_id,image\n0,7.0,a.jpg\n1,8.0,b.jpg\n", "a.jpg", "b.jpg")
    assert catalog.kinds == {}
    assert catalog.issue_counts() == {"unknown_column": 1, "spreadsheet_id": 2}


def test_pictures_inside_a_parquet_file_are_named_with_what_to_do(tmp_path: Path) -> None:
    data = b"\xff\xd8\xff\xe0 not really a picture \x00"
    pq.write_table(pa.table({"image": [{"bytes": data, "path": "a.jpg"}], "label": [1]}), tmp_path / "train.parquet")
    with pytest.raises(CatalogMalformed, match=r"the column 'image' has the pictures themselves.*python -c"):
        read_catalog("folder", tmp_path, dataset="shop")


def test_a_table_without_a_header_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogMalformed, match=r"has no header: its first line, 'A1', 'a\.jpg', '10\.50', is a"):
        read(tmp_path, "A1,a.jpg,10.50\nA2,b.jpg,11.50\n", "a.jpg")


def test_a_table_in_a_folder_below_is_named(tmp_path: Path) -> None:
    folder(tmp_path, "id,image\n1,a.jpg\n", "a.jpg", name="data/products.csv")
    with pytest.raises(CatalogNotFound, match=r"--map table=data/products\.csv"):
        read_catalog("folder", tmp_path, dataset="shop", mapping={})


def test_groups_of_a_feed_such_as_shipping_are_left_out(tmp_path: Path) -> None:
    item = (
        "<item><g:id>A</g:id><title>Coat</title><g:image_link>https://s.example/a.jpg</g:image_link>"
        "<g:google_product_category>1604</g:google_product_category>"
        "<g:shipping><g:country>DE</g:country><g:price>4.95 EUR</g:price></g:shipping><g:price>9 EUR</g:price></item>"
    )
    feed = f'<rss xmlns:g="http://base.google.com/ns/1.0"><channel>{item}</channel></rss>'
    catalog = read(tmp_path, feed, "a.jpg", name="feed.xml")
    assert catalog.products[0].attributes == {
        "name": "Coat", "google_product_category": "1604", "price": 9.0, "priceCurrency": "EUR",
    }  # fmt: skip
