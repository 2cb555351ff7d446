"""The encodings of tables: by byte order mark, by form, and by the language of the text."""

from __future__ import annotations

from pathlib import Path

import pytest

from vitrine.catalogs.table import Table, read_table

GERMAN = ["Größe", "Kleid grün für Damen", "Hemd weiß", "Mütze", "Schöne Röcke", "Äußerst weit"]
FRENCH = ["Couleur", "Robe d'été fleurie", "Chemise à carreaux", "Pull côtelé crème", "Écharpe légère", "Veste zippée"]
SPANISH = ["Tamaño", "Camisa de algodón", "Pantalón vaquero niño", "Botín de piel marrón", "Diseño español"]
POLISH = [
    "Rozmiar",
    "Sukienka letnia żółta",
    "Koszula męska błękitna",
    "Ładna bluzka w groszki",
    "Płaszcz wełniany, długi",
]
CZECH = ["Velikost", "Letní šaty květované", "Pánská košile modrá", "Džíny úzké", "Černá sukně", "Kabát z vlněné látky"]
HUNGARIAN = ["Méret", "Nyári ruha, sárga", "Férfi ing, kék", "Bőr cipő", "Gyapjúkabát nőknek", "Fűzős csizma"]
TURKISH = ["Beden", "Yazlık elbise sarı", "Erkek gömleği", "Siyah etek, çiçekli", "Yün kaban şık", "İnce kışlık"]  # noqa: RUF001 - the Turkish i without a dot
RUSSIAN = ["Размер", "Платье летнее", "Рубашка мужская", "Джинсы узкие", "Чёрная юбка"]
GREEK = ["Μέγεθος", "Καλοκαιρινό φόρεμα", "Ανδρικό πουκάμισο", "Μαύρη φούστα"]
JAPANESE = ["サイズ", "サマードレス", "メンズシャツ 青", "黒いスカート", "ウールコート"]
CHINESE = ["尺码", "夏季连衣裙", "男士衬衫 蓝色", "牛仔裤", "羊毛大衣"]
KOREAN = ["사이즈", "여름 원피스", "남성 셔츠 파란색", "청바지", "검은색 치마"]


def opened(tmp_path: Path, texts: list[str], encoding: str, *, ending: str = "\r\n") -> Table:
    head, *names = texts
    rows = [f"{number};{number}.jpg;{name};19,90;Women" for number, name in enumerate(names)]
    path = tmp_path / "products.csv"
    path.write_bytes(ending.join([f"id;image;{head};price;gender", *rows, ""]).encode(encoding))
    return read_table(path, root=tmp_path, known_columns={"id"})


@pytest.mark.parametrize(
    ("texts", "encoding", "shown"),
    [
        (GERMAN, "cp1252", "Windows-1252"),
        (FRENCH, "cp1252", "Windows-1252"),
        (SPANISH, "cp1252", "Windows-1252"),
        (POLISH, "cp1250", "Windows-1250"),
        (CZECH, "cp1250", "Windows-1250"),
        (HUNGARIAN, "cp1250", "Windows-1250"),
        (TURKISH, "cp1254", "Windows-1254"),
        (RUSSIAN, "cp1251", "Windows-1251"),
        (RUSSIAN, "koi8_r", "KOI8-R"),
        (GREEK, "cp1253", "Windows-1253"),
        (GERMAN, "mac_roman", "Mac Roman"),
        (FRENCH, "mac_roman", "Mac Roman"),
        (GERMAN, "cp850", "DOS (cp850)"),
        (JAPANESE, "cp932", "Shift JIS"),
        (JAPANESE, "euc_jp", "EUC-JP"),
        (CHINESE, "gb18030", "GB 18030"),
        (KOREAN, "cp949", "EUC-KR"),
        *((texts, encoding, "UTF-8") for texts in (GERMAN, JAPANESE) for encoding in ("utf-8", "utf-8-sig")),
        *((texts, encoding, "UTF-16") for texts in (GERMAN, JAPANESE, RUSSIAN)
          for encoding in ("utf-16", "utf-16-le", "utf-16-be")),
        *((texts, encoding, "UTF-32") for texts in (GERMAN, CHINESE) for encoding in ("utf-32", "utf-32-le")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", ["\r\n", "\r"])
def test_the_encoding_is_found(tmp_path: Path, texts: list[str], encoding: str, shown: str, ending: str) -> None:
    table = opened(tmp_path, texts, encoding, ending=ending)
    assert table.encoding == shown
    assert table.header == ("id", "image", texts[0], "price", "gender")
    assert [row.fields[2] for row in table.rows() if row.fields] == texts[1:]
    assert all(row.is_utf8 for row in table.rows())


def test_a_price_in_euros_is_windows_1252(tmp_path: Path) -> None:
    path = tmp_path / "products.csv"
    path.write_bytes("id;Preis\n1;19,90 €\n2;20,90 €\n".encode("cp1252"))
    table = read_table(path, root=tmp_path, known_columns={"id"})
    assert [row.fields for row in table.rows()] == [["1", "19,90 €"], ["2", "20,90 €"]]


def test_a_few_rows_of_windows_1252_in_a_file_of_utf_8_are_converted(tmp_path: Path) -> None:
    rows = [f"{number},{name}".encode() for number, name in enumerate(FRENCH * 3)]
    rows[4] = "4,Écharpe légère".encode("cp1252")
    path = tmp_path / "products.csv"
    path.write_bytes(b"\n".join([b"id,name", *rows]))
    table = read_table(path, root=tmp_path, known_columns={"id"})
    assert table.encoding == "UTF-8"
    assert [row.line for row in table.rows() if not row.is_utf8] == [6]
    assert [row.fields[1] for row in table.rows() if row.fields] == FRENCH * 3


def test_a_converted_line_inside_of_a_text_marks_its_row(tmp_path: Path) -> None:
    path = tmp_path / "products.csv"
    text = 'id,text\n1,"Größe\n'.encode() + "Länge\n".encode("cp1252") + 'Maße"\n2,Größe\n'.encode()
    path.write_bytes(text)
    rows = list(read_table(path, root=tmp_path, known_columns={"id"}).rows())
    assert [(row.fields, row.is_utf8) for row in rows] == [(["1", "Größe\nLänge\nMaße"], False), (["2", "Größe"], True)]


def test_a_large_file_of_another_encoding_is_decoded_block_by_block(tmp_path: Path) -> None:
    names = [f"{name} {number}" for number in range(60_000) for name in JAPANESE]
    table = opened(tmp_path, ["名前", *names], "cp932")
    assert (tmp_path / "products.csv").stat().st_size > 5_000_000
    assert [row.fields[2] for row in table.rows() if row.fields] == names
