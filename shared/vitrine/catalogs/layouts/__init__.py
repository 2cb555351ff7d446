"""The layouts of tables: what the rows of a shop's export mean.

entry             Entry: a product as its rows describe it; Layout: makes entries of a table
roles             which columns hold ids, pictures, variants and names
plain_table       any table with a column of ids or pictures
shopify, woocommerce, google_merchant, hm, image_folder
folders           pictures in folders, without a table
"""
