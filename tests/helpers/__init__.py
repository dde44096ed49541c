"""What tests share: images and stores to test with, right answers, servers, processes that die."""
