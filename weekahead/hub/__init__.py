"""The Hugging Face Hub: access, uploads, and results as the Hub stores them."""
