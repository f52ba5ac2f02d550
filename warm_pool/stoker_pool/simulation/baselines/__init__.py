"""Published policies to compare with. Production never imports them; an import contract keeps it so."""
