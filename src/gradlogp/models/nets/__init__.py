"""Networks: plain maps between tensors, without a view on what they mean."""
