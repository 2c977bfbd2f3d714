"""timm's families of vision transformers, one adapter a file; `cbpnet.backbone.served` has them."""
