"""Ready services, each a command of ``trioservice``, and made of nothing but what every user has too."""
