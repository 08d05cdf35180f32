mod xperia;
