"""The health of a served collection: its duplicates, doubtful labels, outliers and attribute values.

collection   one pass over the collection: products, neighbours, hashes
labels       labels that the neighbours contradict
duplicates   products with the same or nearly the same picture
outliers     products that are unlike all others
attributes   empty and rare values; `spelling` finds several spellings of one value
pictures     reads the pictures of stored products; `signatures` compares them
document     the report
"""
